"""Runs on disk are listed and shown as they are, damaged ones included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedsim.cli import main
from fedsim.runlog.events import Dropped, Result, RoundRecord
from fedsim.runlog.run_folder import RunFolder

RESULT = Result(
    "fedavg",
    9,
    {"accuracy": 0.9, "loss": 0.3},
    "ab",
    {"local": {"accuracy": 0.7}},
    20,
    40,
    1.0,
    {},
    9,
    "cd",
)
SCENARIO = "name: quick\nrounds: 9\nstrategy: {use: fedavg}\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of which eight of nine rounds are finished."""
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.new(Path("runs"), "quick", "a1b2c3d4")
    folder.write("scenario.resolved.yaml", SCENARIO)
    for number in range(1, 9):
        dropped = (Dropped(3, "train", "NaN in w"),)
        record = RoundRecord(
            number, {"accuracy": number / 10, "loss": 0.1}, (0, 3), dropped, {}, {}, 10, 20, 0.5
        )
        folder.append_round(record)
    return folder


def test_ls_shows_how_far_each_run_is(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with run.lock():
        main(["ls"])
    run.write_result(RESULT)
    main(["ls"])
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["run", "status", "strategy", "rounds", "accuracy"]
    assert lines[1] == [str(run.path), "running", "fedavg", "8/9", "0.800"]
    assert lines[3][1] == "finished"
    assert f"next: fedsim show {run.path}" in err


def test_ls_lists_what_it_cannot_read_as_damaged(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.path / "rounds.jsonl").write_text("nonsense\n")
    run.scenario.write_bytes(b"\xff: [")
    assert main(["ls", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["status"], row["done"], row["strategy"]) == ("damaged", 0, "")


def test_ls_of_nothing_says_how_to_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", str(tmp_path)]) == 0
    assert "next: fedsim run" in capsys.readouterr().err


def test_show_says_how_far_who_was_dropped_and_how_to_go_on(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "runs/quick/latest"]) == 0
    out, err = capsys.readouterr()
    assert "so far  accuracy 0.800 · 8 of 9 rounds · 240 B sent" in out
    assert "curve   0.100 ▁▂▃▄▅▆▇█ 0.800  rounds 1 to 8" in out
    assert "dropped client 3, 8x: NaN in w" in out
    assert err == f"next: fedsim resume {run.path}\n"


def test_show_of_a_finished_run_begins_with_the_answer(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write_result(RESULT)
    assert main(["show", str(run.path)]) == 0
    assert "helps here: 20.0 points above local-only training." in capsys.readouterr().out
    assert main(["show", str(run.path), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["run"]["status"], len(shown["rounds"])) == ("finished", 8)
    assert shown["result"]["references"] == {"local": {"accuracy": 0.7}}


def test_show_prints_the_scenario_as_it_stands(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(run.path), "--resolved"]) == 0
    assert capsys.readouterr().out == SCENARIO


def test_show_of_a_damaged_run_says_which_file(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.path / "result.json").write_text("{")
    assert main(["show", str(run.path)]) == 2
    assert "result.json cannot be read" in capsys.readouterr().err


def test_resuming_a_finished_run_says_its_result(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write_result(RESULT)
    assert main(["resume", str(run.path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("result  accuracy 0.900")
    assert "is finished" in err
