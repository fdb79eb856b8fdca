"""Messages between the sides of an algorithm: they cross whole, and no name is spelled twice."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from fedsim.errors import RunError
from fedsim.messages import Message, TensorRecord
from fedsim.wire import Broadcast, Update, Weights

SHELVES = [
    path
    for shelf in ("strategies", "clients")
    for path in sorted((Path(__file__).parents[2] / shelf).glob("*.py"))
]


@dataclass(frozen=True)
class Pull(Message):
    anchor: Weights
    how_far: float
    cap: float | None = None
    first: bool = False


@dataclass(frozen=True)
class Sums(TensorRecord):
    total: torch.Tensor
    count: torch.Tensor | None = None


ANCHOR: Weights = {"w": torch.ones(2)}


def test_a_message_crosses_as_settings_and_extras_and_none_does_not_travel() -> None:
    sent = Pull(ANCHOR, 0.5, first=True).to_broadcast({})
    assert sent.settings == {"how-far": 0.5, "first": True}
    assert sent.extras["anchor"] is ANCHOR  # the very object, so that it is shipped once
    assert Pull.from_broadcast(sent) == Pull(ANCHOR, 0.5, None, True)
    assert Pull.from_update(Update(0, {}, 1, extras={"anchor": ANCHOR, "how-far": {}}), "x")


def test_a_message_that_lacks_what_it_needs_is_refused_by_name() -> None:
    nothing = Broadcast({}, settings={"how-far": 1.0})
    assert not Pull.is_in(nothing)
    with pytest.raises(RunError, match="the server sent no 'anchor'"):
        Pull.from_broadcast(nothing)
    with pytest.raises(RunError, match=r"client 3 sent no 'anchor': set `local: \{use: puller\}`"):
        Pull.from_update(Update(3, {}, 1), "puller")


def test_records_of_tensors_come_back_and_add_up() -> None:
    record = Sums(torch.tensor(2.0), torch.tensor(1.0))
    assert Sums.from_weights(record.to_weights()) == record
    assert Sums(torch.tensor(2.0)).to_weights().keys() == {"total"}
    assert (record + record).to_weights() == {"total": 4.0, "count": 2.0}
    with pytest.raises(RunError, match="Sums came without 'total'"):
        Sums.from_weights({})


@pytest.mark.parametrize("path", SHELVES, ids=lambda path: path.stem)
def test_no_shelf_spells_the_name_of_an_extra_or_a_setting(path: Path) -> None:
    spelled = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg in ("extras", "settings"):
            spelled += [
                part.value
                for part in ast.walk(node.value)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
        base = node.value if isinstance(node, ast.Subscript) else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            base = node.func.value if node.func.attr == "get" else None
        if isinstance(base, ast.Attribute) and base.attr in ("extras", "settings"):
            spelled.append(ast.unparse(node))
    assert spelled == []
