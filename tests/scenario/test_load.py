"""A file, its parents and the command line make one scenario with nothing implicit left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedsim.scenario.inherit import presets
from fedsim.scenario.load import load
from fedsim.scenario.yaml_file import dump
from fedsim.schema.count_or_share import CountOrShare
from fedsim.schema.scenario import Scenario

GOOD = """\
rounds: 3
data: {source: digits, partition: {use: dirichlet, alpha: 0.3}}
model: mlp
clients: {count: 10, per_round: 30%}
local: {lr: 0.5}
strategy: fedavg
"""


def written(folder: Path, name: str = "good.yaml", text: str = GOOD) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_the_name_is_the_files_stem_unless_it_is_said(tmp_path: Path) -> None:
    assert load(written(tmp_path, "my run (2).yaml")).name == "my-run--2-"
    assert load(written(tmp_path, text=GOOD + "name: said")).name == "said"


def test_parts_come_with_all_their_parameters(tmp_path: Path) -> None:
    scenario = load(written(tmp_path))
    assert scenario.data.partition.use == "dirichlet"
    assert scenario.data.partition.parameters["alpha"] == 0.3
    assert set(scenario.data.partition.parameters) == {"alpha", "min_size", "balance"}
    assert scenario.clients.sampler.use == "uniform"


def test_a_name_a_mapping_and_both_words_for_use_mean_the_same(tmp_path: Path) -> None:
    ways = ["fedprox", "{use: fedprox}", "{name: fedprox}", "{use: fedprox, mu: 0.01}"]
    files = [written(tmp_path, text=GOOD.replace("fedavg", way)) for way in ways]
    assert all(load(file) == load(files[0]) for file in files)


def test_the_strategy_names_the_client_half_unless_local_does(tmp_path: Path) -> None:
    assert load(written(tmp_path), ["strategy=fedprox"]).local.use == "proximal"
    assert load(written(tmp_path), ["strategy=fedprox", "local.use=sgd"]).local.use == "sgd"


def test_a_path_after_a_sources_name_is_its_path(tmp_path: Path) -> None:
    (tmp_path / "data.npz").touch()
    for way in ["npz:data.npz", "{use: 'npz:data.npz'}", "{use: npz, path: data.npz}"]:
        source = load(written(tmp_path), [f"data.source={way}"], ).data.source  # fmt: skip
        assert source.use == "npz"
    hub = load(written(tmp_path), ["data.source=hf:ylecun/mnist"]).data.source
    assert (hub.use, hub.parameters["path"]) == ("hf", "ylecun/mnist")


@pytest.fixture(autouse=True)
def _in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the paths of --set start


def test_a_child_changes_its_parent_key_by_key(tmp_path: Path) -> None:
    written(tmp_path, "up/parent.yaml", GOOD + "name: parent\ntags: [a, b]\n")
    child = written(
        tmp_path, "child.yaml", "extends: up/parent.yaml\nclients: {count: 5}\ntags: [c]\n"
    )
    scenario = load(child)
    assert scenario.clients.count == 5
    assert scenario.clients.per_round == CountOrShare("30%")
    assert scenario.tags == ("c",)
    assert scenario.name == "child"
    assert scenario.folder == tmp_path


def test_another_plug_in_replaces_the_parents_whole(tmp_path: Path) -> None:
    written(tmp_path, "parent.yaml", GOOD)
    child = written(tmp_path, "child.yaml", "extends: parent.yaml\ndata: {partition: iid}\n")
    assert load(child).data.partition.parameters == {}
    child = written(
        tmp_path, "child.yaml", "extends: parent.yaml\ndata: {partition: {min_size: 1}}\n"
    )
    assert load(child).data.partition.parameters["alpha"] == 0.3


def test_paths_start_from_the_file_that_says_them(tmp_path: Path) -> None:
    plugin = "from dataclasses import dataclass\n@dataclass\nclass Mine:\n    mu: int = 3\n"
    written(tmp_path, "up/mine.py", plugin)
    (tmp_path / "up" / "data.npz").touch()
    parent = GOOD.replace("digits", "npz:data.npz").replace("fedavg", "./mine.py:Mine")
    written(tmp_path, "up/parent.yaml", parent)
    scenario = load(written(tmp_path, "child.yaml", "extends: up/parent.yaml"))
    assert scenario.data.source.parameters["path"] == str(tmp_path / "up" / "data.npz")
    assert scenario.strategy.use == f"{tmp_path / 'up' / 'mine.py'}:Mine"
    assert scenario.strategy.parameters == {"mu": 3}


def test_every_preset_is_a_scenario_that_can_be_extended(tmp_path: Path) -> None:
    assert "quickstart" in presets()
    scenario = load(written(tmp_path, text="extends: preset:quickstart\nrounds: 2\n"))
    assert scenario.rounds == 2


def test_the_command_line_says_more_than_the_file(tmp_path: Path) -> None:
    overrides = [
        "rounds=7",
        "local.lr=1e-2",
        "data.partition={use: shards}",
        "tags=[a]",
        "seed = 0",
    ]
    scenario = load(written(tmp_path), overrides)
    assert (scenario.rounds, scenario.local.parameters["lr"]) == (7, 0.01)
    assert (scenario.data.partition.use, scenario.tags, scenario.seed) == ("shards", ("a",), 0)


def test_a_resolved_scenario_loads_again_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "data.npz").touch()
    text = (
        GOOD.replace("digits", "npz:data.npz") + "description: '1e-3'\ntags: ['no', '1e5', '012']"
    )
    scenario = load(written(tmp_path, text=text), ["data.feature_shift=noise"])
    elsewhere = written(tmp_path, "else/where.yaml", dump(scenario.resolved()))
    assert load(elsewhere) == scenario
    assert load(elsewhere).resolved() == scenario.resolved()
    assert Scenario.model_validate(scenario.resolved()) == scenario


def test_scenarios_differ_where_a_key_does(tmp_path: Path) -> None:
    assert load(written(tmp_path)) != load(written(tmp_path), ["seed=2"])


@pytest.mark.parametrize(
    ("quantity", "total", "number"),
    [("10%", 50, 5), ("50%", 5, 3), ("0%", 5, 0), ("all", 7, 7), ("100%", 7, 7), ("0.1%", 10, 0),
     (3, 50, 3), (8, 5, 5), ("33.3%", 10, 3)],
)  # fmt: skip
def test_a_quantity_is_a_number_of_the_total(quantity: int | str, total: int, number: int) -> None:
    assert CountOrShare(quantity).of(total) == number


def test_a_share_gives_no_fewer_than_it_must() -> None:
    assert CountOrShare("1%").of(10, at_least=1) == 1
    assert CountOrShare("1%").of(0, at_least=1) == 0


def test_checking_a_scenario_loads_no_heavy_package(tmp_path: Path) -> None:
    program = (
        "import sys, fedsim.plugins.registry\n"
        "from fedsim.scenario.load import load\n"
        "from fedsim.scenario.key_help import explain, json_schema\n"
        f"load({str(written(tmp_path))!r}, ['strategy=scaffold', 'model=resnet8_gn'])\n"
        "explain('strategy'), json_schema()\n"
        "print([m for m in ('torch', 'ray', 'flwr', 'sklearn', 'pandas') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
