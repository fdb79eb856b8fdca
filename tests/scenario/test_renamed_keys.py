"""A key's old name is taken for a version, with a note that says where and what it is now."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from fedsim.cli import main
from fedsim.errors import RenamedKeyWarning, ScenarioError
from fedsim.plugins import registry
from fedsim.scenario.key_help import explain
from fedsim.scenario.load import load
from fedsim.scenario.renamed_keys import RENAMED

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
    note = rf"old.yaml:8: strategy\.{old} is now called strategy\.{RENAMED[old]}$"
    with pytest.warns(RenamedKeyWarning, match=note):
        scenario = load(file)
    assert scenario.strategy.parameters[RENAMED[old]] == value
    assert old not in scenario.strategy.parameters
    assert scenario == load(written(tmp_path, use, RENAMED[old], value))


def test_every_old_name_is_tried() -> None:
    assert set(VALUES) == set(RENAMED)


def test_no_strategy_has_an_old_name_and_each_new_one_is_some_strategy_s() -> None:
    known = [registry.describe("strategy", name) for name in registry.names("strategy")]
    names = {name for signature in known for name in signature.parameters}
    assert set(RENAMED.values()) <= names
    assert not set(RENAMED) & names


def test_both_names_at_once_are_a_fault_with_a_place(tmp_path: Path) -> None:
    file = written(tmp_path, "dann", "deceit_cap", "1.4\n  domain_loss_cap: 2.0")
    with pytest.raises(ScenarioError) as raised:
        load(file)
    (fault,) = raised.value.faults
    assert (fault.line, fault.key) == (8, "strategy.deceit_cap")
    assert "'domain_loss_cap'" in fault.message


def test_a_bad_value_is_told_where_it_stands(tmp_path: Path) -> None:
    with pytest.warns(RenamedKeyWarning), pytest.raises(ScenarioError) as raised:
        load(written(tmp_path, "dann", "deceit_cap", "often"))
    (fault,) = raised.value.faults
    assert fault.line == 8


def test_a_strategy_of_ones_own_keeps_its_names(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
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
    assert raised.value.faults[0].hint == "it is now called 'domain_loss_cap'"
