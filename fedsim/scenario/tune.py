"""The section ``tune`` of a study: which values are looked for, and what that may take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import Field

from fedsim.errors import Fault
from fedsim.scenario.node import Step, YamlNode
from fedsim.schema.part import Section

__all__ = ["Span", "Tune", "ends", "span_faults"]

METHOD_SECTIONS = ("strategy", "local", "model")
"""What belongs to a method; a score means the same whatever is chosen there."""
RANGE = "{log: [0.001, 1]}, {uniform: [0, 1]}, {int: [1, 10]} or {choice: [a, b]}"

Span = Mapping[str, Any]
"""One word, ``log``, ``uniform``, ``int`` or ``choice``, with the ends or the choices."""


class Tune(Section):
    """Values that are looked for before the cells run, for each combination of levels alike.

    A trial is scored on the clients' validation parts; no test example is used.
    """

    space: Annotated[dict[str, Any], Field(min_length=1)]
    """What is tried: dotted keys of strategy, local or model, each with {log: [0.001, 1]},
    {uniform: [0, 1]}, {int: [1, 10]} or {choice: [a, b]}."""
    trials: Annotated[int, Ge(1), Le(1000)]
    """How many values, or combinations of them, are tried for each combination of levels."""
    rounds: Annotated[int, Ge(1)] | None = None
    """Rounds of a trial; null: as many as the scenario's."""
    seeds: Annotated[int, Ge(1)] = 1
    """Each trial is run with the first so many of the study's seeds; its score is their mean."""


def ends(span: Span) -> list[Any]:
    """Return the values that decide whether all of a span are right: its ends, or every choice."""
    ((_, values),) = span.items()
    return list(values)


def span_faults(space: YamlNode) -> Iterator[Fault]:
    """Yield what is wrong with each key of ``tune.space`` by itself."""
    for key, node in space.value.items() if isinstance(space.value, dict) else ():
        path: tuple[Step, ...] = ("tune", "space", key)
        if key.partition(".")[0] not in METHOD_SECTIONS or not key.partition(".")[2]:
            message = "only keys of strategy, local and model can be tuned"
            yield node.key.fault(path, message)
        elif wrong := _wrong(node.plain()):
            yield node.place.fault(path, wrong, f"write {RANGE}")


def _wrong(span: Any) -> str:
    if not isinstance(span, dict) or len(span) != 1:
        return "one range is expected"
    ((kind, values),) = span.items()
    if kind not in _RULES:
        return f"{kind!r} is not a kind of range"
    is_plain = isinstance(values, list) and all(type(value) in (*_NUMBERS, str) for value in values)
    return "" if is_plain and _RULES[kind](values) else f"{kind} asks for {_ASKS[kind]}"


_NUMBERS = (int, float, bool)
_RULES: dict[str, Callable[[list[Any]], bool]] = {
    "log": lambda values: _is_span(values, float) and values[0] > 0,
    "uniform": lambda values: _is_span(values, float),
    "int": lambda values: _is_span(values, int),
    "choice": lambda values: (
        len(values) > 1 and len({str(value) for value in values}) == len(values)
    ),
}
_ASKS = {
    "log": "two numbers above 0, the smaller first",
    "uniform": "two numbers, the smaller first",
    "int": "two whole numbers, the smaller first",
    "choice": "at least two different values",
}


def _is_span(values: list[Any], kind: type) -> bool:
    allowed = (int,) if kind is int else (int, float)
    is_pair = len(values) == 2 and all(type(value) in allowed for value in values)
    return is_pair and bool(values[0] < values[1])
