"""A tree of YAML values in which each knows its file, line and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedsim.errors import Fault

__all__ = ["Scalar", "SourceLocation", "Step", "Value", "YamlNode", "dotted"]

Step = str | int
Scalar = None | bool | int | float | str
Value = "Scalar | list[Node] | dict[str, Node]"


def dotted(path: Sequence[Step]) -> str:
    """Return the path as users write it.

    >>> dotted(["data", "names", 2])
    'data.names[2]'
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[
        isinstance(next(iter(path), 0), str) :
    ]


@dataclass(frozen=True)
class SourceLocation:
    """Where something was written."""

    file: str
    line: int = 0
    """From 1; 0 where no line is to blame."""
    column: int = 0
    source: str = ""
    """The text of the line."""
    folder: Path = Path()
    """Where relative paths that are written here start."""

    def fault(self, key: Sequence[Step] | str, message: str, hint: str = "") -> Fault:
        """Return a fault at this place."""
        name = key if isinstance(key, str) else dotted(key)
        return Fault(self.file, self.line, self.column, name, message, hint, self.source)


@dataclass(frozen=True)
class YamlNode:
    """A value, where it is written and where its key is."""

    value: Scalar | list[YamlNode] | dict[str, YamlNode]
    place: SourceLocation
    key: SourceLocation

    def plain(self) -> Any:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, step: Step) -> YamlNode | None:
        """Return what is under the key or at the position ``step``."""
        if isinstance(self.value, dict):
            return self.value.get(str(step))
        is_there = isinstance(self.value, list) and isinstance(step, int)
        return self.value[step] if is_there and step < len(self.value) else None  # type: ignore

    def at(self, path: Sequence[Step]) -> YamlNode | None:
        """Return what is at ``path``, if there is anything."""
        node: YamlNode | None = self
        for step in path:
            node = node.child(step) if node else None
        return node

    def deepest(self, path: Sequence[Step]) -> YamlNode:
        """Return the last node on the way along ``path`` that there is."""
        below = self.child(path[0]) if path else None
        return below.deepest(path[1:]) if below else self

    def with_value(self, value: Scalar | list[YamlNode] | dict[str, YamlNode]) -> YamlNode:
        """Return another value at the same place."""
        return replace(self, value=value)
