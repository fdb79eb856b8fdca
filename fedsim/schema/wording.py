"""Types and values in words, for faults and for ``fedsim explain``."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types

__all__ = [
    "Wording",
    "at",
    "did_you_mean",
    "expected",
    "inside",
    "listed",
    "misfit",
    "nearest",
    "plural",
    "shown",
    "walked",
]

LONGEST = 100
PLAIN = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Path: "a path",
    Any: "any value",
}


@dataclass(frozen=True)
class Wording:
    """Put into ``Annotated``: what a value of the type must be, where the type cannot say it."""

    text: str


def expected(kind: Any) -> str:
    """Return in words what a value of the type ``kind`` must be.

    >>> expected(Annotated[int, annotated_types.Ge(1)] | None)
    'a whole number >= 1 or null'
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _annotated(inner[0], inner[1:])
    if origin is Literal:
        return listed([str(word) for word in inner], " or ")
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(expected(alternative) for alternative in inner))
    if origin in (tuple, list):
        return "a list of " + _items(inner)
    return "a list" if kind in (tuple, list) else PLAIN.get(kind, "a mapping")


def _items(inner: tuple[Any, ...]) -> str:
    kinds = [expected(kind) for kind in inner if kind is not ...]
    if len(kinds) == 1 or len(set(kinds)) > 1:
        return (
            listed(kinds).replace("a whole number", "whole numbers").replace("a number", "numbers")
        )
    return f"{len(kinds)}, each {kinds[0]}"


def _annotated(kind: Any, extras: tuple[Any, ...]) -> str:
    for extra in extras:
        if isinstance(extra, Wording):
            return extra.text
    ranges = [words for extra in extras for words in _range(extra)]
    return expected(kind) + (" " + " and ".join(ranges) if ranges else "")


def _range(extra: Any) -> list[str]:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    limits = [
        f"{sign} {getattr(extra, name)}"
        for name, sign in signs.items()
        if getattr(extra, name, None) is not None
    ]
    if isinstance(extra, annotated_types.MinLen):
        limits.append(f"with at least {extra.min_length} of them")
    return limits


def misfit(kind: Any, value: object) -> str:
    """Return the message for a ``value`` that is not what it should be."""
    return f"{expected(kind)} is expected, got {shown(value)}"


def walked(value: Any, loc: Iterable[Any]) -> tuple[str | int, ...]:
    """Return the steps of ``loc`` that lead into ``value``.

    The others are pydantic's own: names of the branches of a union.
    """
    steps: list[str | int] = []
    for step in loc:
        is_key = isinstance(value, dict) and step in value
        if is_key or (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            steps.append(step)
            value = value[step]
    return tuple(steps)


def at(value: Any, steps: Iterable[str | int]) -> Any:
    """Return what the steps lead to."""
    for step in steps:
        value = value[step]
    return value


def inside(kind: Any, steps: Iterable[str | int]) -> Any:
    """Return the type of what the steps lead to in a value of type ``kind``."""
    for step in steps:
        kind = _inside(kind, step)
    return kind


def _inside(kind: Any, step: str | int) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _inside(inner[0], step)
    if origin in (Union, types.UnionType):
        return next(
            (
                alternative
                for alternative in (_inside(alternative, step) for alternative in inner)
                if alternative is not Any
            ),
            Any,
        )
    if origin is dict and len(inner) == 2:
        return inner[1]
    if origin in (tuple, list) and inner and isinstance(step, int):
        return inner[step] if step < len(inner) and ... not in inner else inner[0]
    field = getattr(kind, "model_fields", {}).get(step)
    if field is None:
        return Any
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def shown(value: object) -> str:
    """Return ``value`` as its writer would recognise it, on one line.

    >>> shown(True), shown(None), shown("a")
    ('true', 'nothing', "'a'")
    """
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    text = repr(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def listed(names: Iterable[str], last: str = ", ") -> str:
    """Return the names on one line, with ``last`` before the last one.

    >>> listed(["a", "b", "c"], " or ")
    'a, b or c'
    """
    *first, end = names
    return last.join([", ".join(first), end]) if first else end


def nearest(name: str, names: Iterable[str]) -> str:
    """Return which of ``names`` is most like ``name``; empty where none is."""
    by_folded = {_folded(candidate): candidate for candidate in names}
    close = difflib.get_close_matches(_folded(name), by_folded, 1, 0.6)
    return by_folded[close[0]] if close else ""


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def plural(count: int, noun: str) -> str:
    """Return ``count`` with its noun: ``1 seed``, ``3 seeds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a question for a hint; empty where nothing is near."""
    close = nearest(name, names)
    return f"did you mean {close!r}?" if close else ""
