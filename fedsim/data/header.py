"""What the headers of a file tell of the data in it, before any of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FieldSpec", "Header"]


@dataclass(frozen=True)
class FieldSpec:
    """The kind of an array that has a row for each example."""

    dtype: str
    """As NumPy names it, such as ``float32``; ``text`` for texts."""
    shape: tuple[int, ...] = ()
    """Of one example."""
    kind: str = "numeric"
    """``numeric``, ``image`` or ``tokens``; of targets, ``classes`` where texts or integers may
    be class numbers."""


@dataclass(frozen=True)
class Header:
    """What is known of a source from names, headers and footers alone; it imports no NumPy.

    What the headers do not tell is None.
    """

    fields: Mapping[str, FieldSpec] = field(default_factory=dict)
    """The inputs by name; one array is called ``inputs``."""
    targets: FieldSpec | None = None
    rows: int | None = None
    """Training examples."""
    test_rows: int | None = None
    """Those of the source's own test split; 0 where it has none."""
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    """The columns that are learnt from, as the file names them."""
    has_clients: bool | None = None
    """Whether each example's natural client is known."""
    clients: int | None = None
    """How many natural clients there are."""
    has_domains: bool | None = None
