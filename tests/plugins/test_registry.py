"""Names become classes: from the shelf, a package or a file; and sources are read unimported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.flower.parts import strategy_of
from fedsim.plugins.plugin_source import imported
from fedsim.plugins.registry import SHELVES, build, describe, find, names
from fedsim.plugins.signature import COMPUTED, REQUIRED
from fedsim.schema.part import Part
from fedsim.schema.wording import expected

PLUGIN = '''\
"""Mine: a plug-in in a file."""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
import annotated_types as at

from fedsim.strategies.fedprox import FedProx
from fedsim.strategy import Strategy

raise_on_import = 1 / {divisor}
Rate = Annotated[float, at.Interval(ge=0, lt=1)]
HALF = 0.5


@dataclass(frozen=True)
class Mine(FedProx):
    """First words.

    More words.
    """

    client: ClassVar[str] = "sgd"
    rate: Rate = HALF
    """How fast ``it`` goes."""
    steps: tuple[Annotated[int, Ge(1)], ...] = (1, 2)
    how: Literal["a", "b"] | None = None
    power: "float" = math.pi
    names: list[str] = field(default_factory=list)
    hidden: int = field(default=3, init=False)
    other: Unknown | int = 3


@dataclass(frozen=True)
class Needy(Strategy):
    must: int


class Child(Mine):
    """Adds no field."""


class Plain:
    def __init__(self, one, two: int = 2, *rest, three: str = "x", **more):
        """Make it.

        Args:
            one: the first,
                of three.
            two: the second.
        """
        self.values = (one, two, three)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(PLUGIN.format(divisor=1))
    (tmp_path / "broken.py").write_text(PLUGIN.format(divisor=0))
    (tmp_path / "no_python.py").write_text("class Mine(:\n")
    return tmp_path


def refusal(kind: str, use: str, beside: Path = Path(), **parameters: Any) -> str:
    with pytest.raises(ScenarioError) as caught:
        build(kind, Part(use=use, parameters=parameters), beside)
    return "; ".join(fault.message for fault in caught.value.faults)


@pytest.mark.parametrize("kind", SHELVES)
def test_every_name_on_a_shelf_is_described_as_the_class_is(kind: str) -> None:
    assert names(kind)
    for name in names(kind):
        signature, cls = describe(kind, name), find(kind, name)
        assert cls.__name__ == signature.name
        inspected = imported(cls, SHELVES[kind].engine_arguments)
        assert set(signature.parameters) == set(inspected.parameters)
        for parameter in signature.parameters.values():
            if parameter.default not in (REQUIRED, COMPUTED):
                parameter.value(parameter.default)


def test_a_name_is_a_file_of_the_shelf_or_a_class_of_its_module() -> None:
    assert find("strategy", "fedavg").__module__ == "fedsim.strategies.fedavg"
    assert find("sampler", "round_robin").__name__ == "RoundRobin"
    assert "sampler" not in names("sampler")  # the contract
    assert find("strategy", "fedsim.strategies.fedavg:FedAvg") is find("strategy", "fedavg")


def test_the_parameters_of_a_dataclass_are_read_without_importing_it(folder: Path) -> None:
    signature = describe("strategy", "./broken.py:Mine", folder)
    parameters = {p.name: (expected(p.type), p.default) for p in signature.parameters.values()}
    assert parameters == {
        "mu": ("a number >= 0", 0.01),
        "rate": ("a number >= 0 and < 1", 0.5),
        "steps": ("a list of whole numbers >= 1", (1, 2)),
        "how": ("a or b or null", None),
        "power": ("a number", COMPUTED),
        "names": ("a list of text", []),
        "other": ("any value", 3),
    }
    assert (signature.doc, signature.client) == ("First words.", "sgd")
    assert describe("strategy", "./mine.py:Mine", folder).about == "Mine: a plug-in in a file."
    assert signature.parameters["rate"].doc == "How fast `it` goes."


def test_a_client_half_and_fields_are_inherited(folder: Path) -> None:
    signature = describe("strategy", "./mine.py:Child", folder)
    assert signature.parameters == describe("strategy", "./mine.py:Mine", folder).parameters
    assert describe("strategy", "fedprox").client == "proximal"
    assert describe("strategy", "fedavg").client == "sgd"


def test_the_arguments_of_an_init_are_parameters(folder: Path) -> None:
    signature = describe("strategy", "./mine.py:Plain", folder).parameters
    assert [(p.name, p.default, p.doc) for p in signature.values()] == [
        ("one", REQUIRED, "the first, of three."),
        ("two", 2, "the second."),
        ("three", "x", ""),
    ]


def test_what_the_engine_gives_is_no_parameter_of_a_model() -> None:
    assert not {"shape", "classes"} & set(describe("model", "mlp").parameters)
    assert "hidden" in describe("model", "mlp").parameters


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what flwr imports
def test_a_strategy_of_flowers_own_is_imported_and_inspected() -> None:
    signature = describe("strategy", "flwr.serverapp.strategy:Krum")
    assert signature.parameters["num_malicious_nodes"].default == 0


def test_a_class_is_built_from_what_a_scenario_says(folder: Path) -> None:
    part = Part(use="./mine.py:Mine", parameters={"mu": 1, "steps": [4], "how": "b"})
    built = build("strategy", part, folder)
    assert (built.mu, built.steps, built.how, built.rate) == (1.0, (4,), "b", 0.5)
    assert type(built.mu) is float


def test_two_parts_from_one_file_share_its_classes(folder: Path) -> None:
    mine = find("strategy", "./mine.py:Mine", folder)
    assert find("strategy", f"{folder}/mine.py:Child").__mro__[1] is mine


def test_a_class_of_a_file_is_found_again_in_another_process(folder: Path) -> None:
    name = find("strategy", "./mine.py:Mine", folder).__module__
    program = (
        "from fedsim.plugins.registry import find\n"
        f"print(find('strategy', {f'{folder}/mine.py:Mine'!r}).__module__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == name


def test_wrong_parameters_are_reported_all_at_once(folder: Path) -> None:
    assert refusal("strategy", "./mine.py:Mine", folder, nu=1, mu=-1, steps=[1, 0]) == (
        "a number >= 0 is expected, got -1; "
        "strategy 'mine.py:Mine' has no parameter 'nu'; "
        "it has mu, rate, steps, how, power, names, other; "
        "a whole number >= 1 is expected, got 0"
    )
    assert refusal("strategy", "./mine.py:Needy", folder) == (
        "strategy 'mine.py:Needy' needs 'must': a whole number"
    )


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("fedagv", "no strategy is called 'fedagv'"),
        ("./no.py:Mine", "there is no file"),
        ("./mine.py:Nine", "mine.py has no class Nine"),
        ("./no_python.py:Mine", "cannot be imported: SyntaxError"),
        ("./broken.py:Mine", "cannot be imported: ZeroDivisionError"),
        ("no_such_package:Mine", "cannot be imported: ModuleNotFoundError"),
        ("fedsim.errors:Nine", "fedsim.errors has no class Nine"),
        ("fedsim.strategy:is_sum", "fedsim.strategy has no class is_sum"),
        ("sys:exit", "sys has no class exit"),
        ("a:b:c", "no strategy is called 'a:b:c'"),
        ("", "no strategy is called ''"),
    ],
)
def test_a_name_that_means_nothing_is_refused(folder: Path, use: str, message: str) -> None:
    assert message in refusal("strategy", use, folder)


def test_an_unknown_name_gets_the_nearest_and_all_there_are() -> None:
    with pytest.raises(ScenarioError) as caught:
        find("strategy", "fedagv")
    first, second = caught.value.faults[0].hint.splitlines()
    assert first == "did you mean 'fedavg'?"
    assert ", ".join(names("strategy")) in second


def test_what_a_constructor_refuses_is_a_scenario_error(tmp_path: Path) -> None:
    (tmp_path / "picky.py").write_text(
        "class Picky:\n    def __init__(self, n: int = 1):\n        raise ValueError('never')\n"
    )
    assert refusal("strategy", "./picky.py:Picky", tmp_path) == (
        "strategy 'picky.py:Picky': ValueError: never"
    )


def test_addends_as_of_version_0_1_are_refused_with_what_they_take_now(
    scenario, tmp_path: Path
) -> None:
    (tmp_path / "old.py").write_text(
        "from fedsim.strategy import Strategy\n"
        "class Old(Strategy):\n"
        '    """As it was."""\n'
        "    def addends(self, update):\n"
        "        return super().addends(update)\n"
    )
    with pytest.raises(ScenarioError, match=r"Old.addends takes \(update, client\) now"):
        strategy_of(scenario(strategy=f"{tmp_path / 'old.py'}:Old"))
