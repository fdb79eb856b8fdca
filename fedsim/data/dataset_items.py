"""The items of a torch Dataset, read one by one into arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.returned_arrays import array_of, described
from fedsim.errors import DataError, FedsimError

__all__ = ["read_items"]

EXPECTED = "(input, target) or (input, target, client) is expected"


def read_items(dataset: Any, who: str) -> dict[str, Array]:
    """Return ``inputs``, ``labels`` and perhaps ``client`` of all items.

    Args:
        dataset: has ``__len__``, and ``__getitem__`` for the integers below it; torch is not
            needed to read it.
        who: the function that returned it, as messages call it.

    Raises:
        DataError: if it is empty, an item is no such tuple, cannot be read, or is unlike the first.
    """
    count = len(dataset)
    if not count:
        raise DataError(f"{who} returned {described(dataset)} without an item")
    first = _parts(dataset, 0, who)
    inputs = np.empty((count, *first[0].shape), first[0].dtype)
    others: list[list[Array]] = [[] for _ in first[1:]]
    for at in range(count):
        parts = _parts(dataset, at, who) if at else first
        if len(parts) != len(first):
            raise DataError(
                f"item {at} of {who} has {len(parts)} parts, item 0 {len(first)}: {EXPECTED}"
            )
        _check_alike(parts, first, f"item {at} of {who}")
        inputs[at] = parts[0]
        for column, value in zip(others, parts[1:], strict=True):
            column.append(value)
    return {
        "inputs": inputs,
        **{
            role: np.stack(column)
            for role, column in zip(("labels", "client"), others, strict=False)
        },
    }


def _parts(dataset: Any, at: int, who: str) -> list[Array]:
    """Return the input, the target and perhaps the client of one item."""
    try:
        item = dataset[at]
    except FedsimError:
        raise
    except Exception as error:  # reading an item runs what the author wrote
        reason = f"{type(error).__name__}: {error}".strip(": ")
        raise DataError(f"item {at} of {who} cannot be read: {reason}") from error
    if not isinstance(item, tuple | list) or len(item) not in (2, 3):
        what = f"{len(item)} parts" if isinstance(item, tuple | list) else described(item)
        raise DataError(f"item {at} of {who} is {what}; {EXPECTED}")
    names = ("input", "target", "client")
    return [
        array_of(part, f"the {name} of item {at} of {who}")
        for name, part in zip(names, item, strict=False)
    ]


def _check_alike(parts: list[Array], first: list[Array], which: str) -> None:
    """Refuse an item that does not fit into one array with the first."""
    for name, part, other in zip(("an input", "a target", "a client"), parts, first, strict=False):
        if part.shape != other.shape:
            shapes = f"{part.shape}, item 0 {other.shape}"
            raise DataError(f"{which} has {name} of the shape {shapes}: all must be of one shape")
        if (part.dtype.kind in "US") != (other.dtype.kind in "US"):
            raise DataError(f"{which} has {name} {part.dtype}, item 0 {other.dtype}")
    if not np.can_cast(parts[0].dtype, first[0].dtype, "same_kind"):
        raise DataError(f"{which} has an input {parts[0].dtype}, item 0 {first[0].dtype}")
