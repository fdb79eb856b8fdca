"""A key's old name is taken for a version, with a note that says where and what it is now."""

from __future__ import annotations

import inspect
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from fedsim.cli import main
from fedsim.engine.run import resume_run
from fedsim.errors import RenamedKeyWarning, ScenarioError
from fedsim.plugins import registry
from fedsim.runlog.events import RoundDone
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.key_help import explain
from fedsim.scenario.keys import known_at
from fedsim.scenario.load import load
from fedsim.scenario.node import SourceLocation, YamlNode
from fedsim.scenario.renamed_keys import RENAMED, with_new_names
from fedsim.scenario.study_file import load_study

NEW = {old.rpartition(".")[2]: new.rpartition(".")[2] for old, new in RENAMED.items()}
VALUES = {
    "deceit_cap": ("dann", 1.4),
    "unit_features": ("iwcdan", True),
    "most": ("iwdan", 5.0),
    "questions": ("jdme", 9),
    "spread": ("dmpn", 1.0),
    "keep": ("dmpn", 0.25),
}
TEXT = """\
rounds: 1
data:
  source: {use: digits_domains, domains: [plain, blurred]}
  partition: {use: domains, targets: [blurred]}
model: lenet
strategy:
  use: %s
  %s: %s
"""


def written(folder: Path, *what: object) -> Path:
    file = folder / "old.yaml"
    file.write_text(TEXT % what, encoding="utf-8")
    return file


@pytest.mark.parametrize("old", sorted(VALUES))
def test_an_old_name_means_the_new_one_and_says_where_it_stands(old: str, tmp_path: Path) -> None:
    use, value = VALUES[old]
    file = written(tmp_path, use, old, value)
    note = rf"old.yaml:8: strategy\.{old} is now called strategy\.{NEW[old]}$"
    with pytest.warns(RenamedKeyWarning, match=note):
        scenario = load(file)
    assert scenario.strategy.parameters[NEW[old]] == value
    assert old not in scenario.strategy.parameters
    assert scenario == load(written(tmp_path, use, NEW[old], value))


def test_every_old_name_is_tried() -> None:
    assert set(VALUES) == set(NEW)


def test_no_strategy_has_an_old_name_and_each_new_one_is_some_strategy_s() -> None:
    signatures = [registry.describe("strategy", name) for name in registry.names("strategy")]
    names = {name for signature in signatures for name in signature.parameters}
    assert set(NEW.values()) <= names
    assert not set(NEW) & names


def test_both_names_in_one_file_are_a_fault_with_a_place(tmp_path: Path) -> None:
    file = written(tmp_path, "dann", "deceit_cap", "1.4\n  domain_loss_cap: 2.0")
    with pytest.raises(ScenarioError) as raised:
        load(file)
    (fault,) = raised.value.faults
    assert (fault.line, fault.key) == (8, "strategy.deceit_cap")
    assert "'domain_loss_cap'" in fault.message


def test_a_bad_value_is_reported_where_it_is_written(tmp_path: Path) -> None:
    with pytest.warns(RenamedKeyWarning), pytest.raises(ScenarioError) as raised:
        load(written(tmp_path, "dann", "deceit_cap", "often"))
    (fault,) = raised.value.faults
    assert fault.line == 8


def own_strategy(folder: Path) -> None:
    (folder / "own.py").write_text(
        inspect.cleandoc(
            """
            from dataclasses import dataclass

            from fedsim.strategies.fedavg import FedAvg

            @dataclass(frozen=True)
            class Own(FedAvg):
                most: float = 2.0
                max_ratio: float = 3.0
            """
        ),
        encoding="utf-8",
    )


def test_a_strategy_of_ones_own_keeps_its_names(tmp_path: Path) -> None:
    own_strategy(tmp_path)
    scenario = load(written(tmp_path, "./own.py:Own", "most", 4.0))
    assert scenario.strategy.parameters["most"] == 4.0


@pytest.mark.filterwarnings("default")
def test_the_command_line_says_it_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "dann", "deceit_cap", 1.4)
    assert main(["check", str(file)]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "now called" in line]
    assert line.startswith("note ")


def test_explain_says_what_it_is_now() -> None:
    with pytest.raises(ScenarioError) as raised:
        explain("strategy.deceit_cap")
    assert raised.value.faults[0].hint == "it is now called 'strategy.domain_loss_cap'"


def test_explain_takes_an_old_name_for_one_in_its_own_section_only() -> None:
    with pytest.raises(ScenarioError) as raised:
        explain("clients.most")
    assert "now called" not in raised.value.faults[0].hint


@pytest.mark.parametrize(("below", "above"), list(permutations(["deceit_cap", "domain_loss_cap"])))
def test_a_child_has_the_last_word_whichever_name_either_file_uses(
    below: str, above: str, tmp_path: Path
) -> None:
    written(tmp_path, "dann", below, 1.4)
    child = tmp_path / "child.yaml"
    child.write_text(f"extends: old.yaml\nstrategy: {{{above}: 2.5}}\n", encoding="utf-8")
    with pytest.warns(RenamedKeyWarning, match="deceit_cap is now called"):
        scenario = load(child)
    assert scenario.strategy.parameters["domain_loss_cap"] == 2.5


@pytest.mark.parametrize(("below", "above"), list(permutations(["deceit_cap", "domain_loss_cap"])))
def test_an_override_has_the_last_word_whichever_name_it_uses(
    below: str, above: str, tmp_path: Path
) -> None:
    file = written(tmp_path, "dann", below, 1.4)
    with pytest.warns(RenamedKeyWarning):
        scenario = load(file, [f"strategy.{above}=2.5"])
    assert scenario.strategy.parameters["domain_loss_cap"] == 2.5


def test_both_of_a_strategy_s_own_names_survive_a_child(tmp_path: Path) -> None:
    own_strategy(tmp_path)
    written(tmp_path, "./own.py:Own", "most", 4.0)
    child = tmp_path / "child.yaml"
    child.write_text("extends: old.yaml\nstrategy: {max_ratio: 5.0}\n", encoding="utf-8")
    parameters = load(child).strategy.parameters
    assert (parameters["most"], parameters["max_ratio"]) == (4.0, 5.0)


STUDY = """\
kind: study
base: old.yaml
set: {data.holdout: {client_val: 20%%}}
axes: {steps: {few: {strategy.adversary_steps: 1}, %s}}
seeds: [1]
tune: {space: {strategy.deceit_cap: {uniform: [1.0, 2.0]}}, trials: 2}
"""


@pytest.mark.filterwarnings("ignore::fedsim.errors.RenamedKeyWarning")
def test_a_study_of_version_0_1_tunes_an_old_key_under_its_old_name(tmp_path: Path) -> None:
    written(tmp_path, "dann", "domain_loss_cap", 1.4)
    (tmp_path / "study.yaml").write_text(
        STUDY % "more: {strategy.adversary_steps: 2}", encoding="utf-8"
    )
    searches = load_study(tmp_path / "study.yaml").searches
    assert [list(search.space) for search in searches] == [["strategy.deceit_cap"]] * 2


@pytest.mark.filterwarnings("ignore::fedsim.errors.RenamedKeyWarning")
def test_what_a_level_says_under_the_new_name_is_not_tuned_under_the_old(tmp_path: Path) -> None:
    written(tmp_path, "dann", "domain_loss_cap", 1.4)
    (tmp_path / "study.yaml").write_text(
        STUDY % "capped: {strategy.domain_loss_cap: 2.0}", encoding="utf-8"
    )
    searches = load_study(tmp_path / "study.yaml").searches
    assert [search.levels for search in searches] == [{"steps": "few"}]


@pytest.mark.filterwarnings("ignore::fedsim.errors.RenamedKeyWarning")
def test_a_run_whose_folder_has_old_names_is_resumed_to_the_same_end(
    tmp_path: Path, play: Any, run_killed_at: Any
) -> None:
    text = TEXT.replace("rounds: 1", "rounds: 3") % ("dann", "domain_loss_cap", 1.4)
    (tmp_path / "new.yaml").write_text(text, encoding="utf-8")
    scenario = load(tmp_path / "new.yaml")
    undisturbed = play(scenario)
    rounds_done = [k for k, e in enumerate(undisturbed.events, 1) if isinstance(e, RoundDone)]
    folder = RunFolder.create(tmp_path / "killed")
    run_killed_at(scenario, folder, rounds_done[1])
    resolved = tmp_path / "killed" / "scenario.resolved.yaml"
    with_old_names = resolved.read_text(encoding="utf-8")
    for old, new in NEW.items():
        with_old_names = with_old_names.replace(f"  {new}:", f"  {old}:")
    assert "deceit_cap: 1.4" in with_old_names
    resolved.write_text(with_old_names, encoding="utf-8")
    result = resume_run(folder, lambda event: None)
    assert len(folder.rounds()) == 3
    assert result.weights_sha256 == undisturbed.result.weights_sha256


def test_a_section_s_keys_are_renamed_by_the_same_table() -> None:
    place = SourceLocation("here.yaml", line=2)
    entries = {"size": YamlNode(3, place, place)}
    with pytest.warns(RenamedKeyWarning, match=r"here.yaml:2: clients.size is now called"):
        present, faults = with_new_names(
            ("clients",), entries, known_at(("clients",)), {"clients.size": "clients.count"}
        )
    assert (list(present), faults) == (["count"], [])
