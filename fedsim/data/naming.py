"""What is learnt from and what there is to learn, in words for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["columns_text", "is_plain", "names_text"]

_MOST = 12
"""Names that are written out."""


def columns_text(columns: Sequence[str]) -> str:
    """Return the columns of a table; the values of a category count as one column.

    >>> columns_text(["age", "job=cook", "job=nurse"])
    '2: age, job (2 values)'
    """
    values: dict[str, int] = {}
    for column in columns:
        name, is_value, _ = column.partition("=")
        values[name] = values.get(name, 0) + bool(is_value)
    return names_text(
        [f"{name} ({count} values)" if count else name for name, count in values.items()]
    )


def names_text(names: Sequence[str]) -> str:
    """Return how many names there are, and the first of them."""
    more = f", ... {len(names) - _MOST} more" if len(names) > _MOST else ""
    return f"{len(names)}: {', '.join(names[:_MOST])}{more}"


def is_plain(names: Sequence[str]) -> bool:
    """Return whether names say no more than their numbers do."""
    return all(name == str(number) for number, name in enumerate(names))
