"""What runs are called when no study names them: by what tells them apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["flat", "label"]

_ASIDE = {
    "schema",
    "kind",
    "name",
    "description",
    "tags",
    "extends",
    "seed",
    "references",
    "compute",
    "checkpoint",
    "tracking",
    "output",
}
"""What changes no number of a run, or is compared over."""
_OWN = ("strategy.", "local.")
"""What belongs to a method; all else is the setting that it is tried in."""


def flat(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value in nested mappings with its dotted key."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def label(scenarios: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return for each scenario what its method and its setting are called."""
    values = [dict(_told(scenario)) for scenario in scenarios]
    settings = [
        {k: v for k, v in flattened.items() if not k.startswith(_OWN)} for flattened in values
    ]
    methods = [{k: v for k, v in flattened.items() if k.startswith(_OWN)} for flattened in values]
    names = []
    for method, setting in zip(methods, settings, strict=True):
        use = method.get("strategy.use")
        alike = [other for other in methods if other.get("strategy.use") == use]
        differing = _differing(method, alike)
        name = " ".join([_short(str(use)), *differing])
        names.append((name, ", ".join(_differing(setting, settings))))
    return _told_apart(names, methods)


def _short(use: str) -> str:
    file = re.fullmatch(r".*/([^/]+\.py:\w+)", use)
    return file[1] if file else use


def _told_apart(
    names: Sequence[tuple[str, str]], methods: Sequence[Mapping[str, object]]
) -> list[tuple[str, str]]:
    """Return the names with a number where two methods, of files in two folders, share one."""
    by_label: dict[str, list[Mapping[str, object]]] = {}
    distinct = []
    for (name, setting), method in zip(names, methods, strict=True):
        namesakes = by_label.setdefault(name, [])
        if method not in namesakes:
            namesakes.append(method)
        place = namesakes.index(method) + 1
        distinct.append((name if place == 1 else f"{name} ({place})", setting))
    return distinct


def _told(scenario: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for key, value in flat({k: v for k, v in scenario.items() if k not in _ASIDE}):
        if key != "local.use":  # the strategy says which
            yield key, value


def _differing(mine: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for other in (mine, *others) for key in other)
    differing = [key for key in keys if any(other.get(key) != mine.get(key) for other in others)]
    return [f"{_last(key)}={_said(mine[key])}" for key in differing if key in mine]


def _last(key: str) -> str:
    *above, last = key.split(".")
    return above[-1] if last == "use" and above else last


def _said(value: object) -> str:
    return Path(value).name if isinstance(value, str) and value.startswith("/") else str(value)
