"""What the headers of a file tell of the data in it, before any of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FieldSpec", "Header", "laid_out"]

_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class FieldSpec:
    """The kind of an array that has a row for each example."""

    dtype: str
    """As NumPy names it, such as ``float32``; ``text`` for texts."""
    shape: tuple[int, ...] | None = ()
    """Of one example; None where the headers do not tell."""
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


def laid_out(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of inputs with their channels first, as models take them.

    ``(n, height, width)`` becomes ``(n, 1, height, width)``, ``(n, height, width, c)`` with 1, 3
    or 4 channels becomes ``(n, c, height, width)``, and ``(n,)`` becomes ``(n, 1)``.
    """
    if len(shape) in (1, 3):
        return (shape[0], 1, *shape[1:])
    if len(shape) == 4 and shape[3] in _CHANNELS and shape[1] not in _CHANNELS:
        return (shape[0], shape[3], *shape[1:3])
    return shape
