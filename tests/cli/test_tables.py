"""A run on a table says what it learns from, and one that cannot start leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedsim.cli import main

SCENARIO = """\
kind: scenario
name: table
seed: 1
rounds: 1
data:
  source: {use: csv, path: a.csv, client: site}
  partition: natural
model: mlp
strategy: fedavg
compute: {backend: local}
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scenario on a table with two clients, a leaking column, and names of all."""
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0)
    label = draws.integers(2, size=200)
    frame = pd.DataFrame(
        {
            "age": draws.normal(size=200) + label,
            "cost": 9 * label + draws.random(200),
            "label": np.array(["well", "ill"])[label],
            "site": ["North", "South"] * 100,
        }
    )
    frame.to_csv("a.csv", index=False)
    Path("s.yaml").write_text(SCENARIO)
    return Path("s.yaml")


def test_a_run_says_what_it_learns_from_and_so_does_show(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(scenario)]) == 0
    out, err = capsys.readouterr()
    assert "columns 2: age, cost" in out
    assert "classes 2: ill, well" in out
    assert "column 'cost' alone tells" in out + err
    folder = Path("runs/table/latest")
    assert json.loads((folder / "data.json").read_text())["clients"] == ["North", "South"]
    assert "column 'cost'" in (folder / "events.log").read_text()
    assert main(["show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "columns 2: age, cost" in shown
    assert "note    column 'cost' alone tells" in shown


@pytest.mark.parametrize(
    ("break_it", "code"),
    [("data.source.missing=zero", 3), ("model=lenet", 2), ("data.source.label=site", 3)],
)
def test_a_run_that_cannot_start_leaves_no_folder_and_latest_as_it_was(
    scenario: Path, break_it: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(scenario), "--quiet"]) == 0
    before = Path("runs/table/latest").resolve()
    frame = pd.read_csv("a.csv")
    frame.loc[3, "age"] = np.inf
    if code == 3:
        frame.to_csv("a.csv", index=False)
    assert main(["run", str(scenario), "--set", break_it]) == code
    capsys.readouterr()
    assert Path("runs/table/latest").resolve() == before
    assert sorted(path.name for path in Path("runs/table").iterdir()) == sorted(
        ["latest", before.name]
    )
    main(["ls"])
    assert "interrupted" not in capsys.readouterr().out


def test_token_ids_for_a_model_of_numbers_are_refused_before_round_1(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.py").write_text(
        '"""A source."""\n\nimport numpy as np\nfrom fedsim.data.dataset import Dataset\n\n\n'
        'class Mine:\n    """Sequences of token ids."""\n\n'
        "    def load(self, seed, folder):\n"
        "        ids = np.arange(80).reshape(20, 4)\n"
        "        return Dataset(ids, np.arange(20) % 2, None, None, 2)\n"
    )
    text = SCENARIO.replace("{use: csv, path: a.csv, client: site}", "./mine.py:Mine")
    text = text.replace("natural", "iid") + "clients: {count: 2}\n"
    scenario.write_text(text)
    assert main(["run", str(scenario)]) == 2
    assert "s.yaml:8:8: model: mlp takes numbers, and the inputs are token ids" in (
        capsys.readouterr().err
    )
    assert not [*Path("runs").rglob("scenario.resolved.yaml")]


def test_a_first_run_that_cannot_start_leaves_no_latest(scenario: Path) -> None:
    Path("a.csv").write_text("age,label\n1,1\n")
    assert main(["run", str(scenario)]) == 3
    assert not [*Path("runs").rglob("latest")]
    assert not [*Path("runs").rglob("scenario.resolved.yaml")]


def test_an_error_that_nobody_foresaw_keeps_its_traceback_and_is_no_run(scenario: Path) -> None:
    Path("mine.py").write_text(
        '"""A source."""\n\n\nclass Mine:\n    """Breaks."""\n\n'
        "    def load(self, seed, folder):\n        return 1 / 0\n"
    )
    changes = ["--set", "data.source=./mine.py:Mine", "--set", "data.partition=iid"]
    assert main(["run", str(scenario), *changes, "--set", "clients.count=2"]) == 1
    (log,) = Path("runs").rglob("events.log")
    assert "ZeroDivisionError" in log.read_text()
    assert not [*Path("runs").rglob("latest")]
    assert not [*Path("runs").rglob("scenario.resolved.yaml")]
