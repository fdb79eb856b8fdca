"""The items of a torch Dataset, read one by one into arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.named_reading import Ragged
from fedsim.data.returned_arrays import array_of, described
from fedsim.errors import DataError, FedsimError

__all__ = ["read_items"]

_NAMED = "inputs."
"""Before the name of an input that is one of several."""

EXPECTED = "(input, target) or (input, target, client) is expected"


def read_items(dataset: Any, who: str) -> dict[str, Any]:
    """Return ``inputs``, ``labels`` and perhaps ``client`` of all items.

    Args:
        dataset: has ``__len__``, and ``__getitem__`` for the integers below it; torch is not
            needed to read it.
        who: the function that returned it, as messages call it.

    Returns:
        Arrays; of inputs that are dicts, a mapping from names to arrays, or to
        :class:`~fedsim.data.named_reading.Ragged` where rows have several lengths.

    Raises:
        DataError: if it is empty, an item is no such tuple, cannot be read, or is unlike the first.
    """
    count = len(dataset)
    if not count:
        raise DataError(f"{who} returned {described(dataset)} without an item")
    first = _parts(dataset, 0, who)
    columns: dict[str, list[Array]] = {name: [] for name in first if name != "inputs"}
    single = first.get("inputs")
    inputs = None if single is None else np.empty((count, *single.shape), single.dtype)
    for at in range(count):
        parts = _parts(dataset, at, who) if at else first
        if parts.keys() != first.keys():
            here, there = (", ".join(map(_called, keys)) for keys in (parts, first))
            raise DataError(f"item {at} of {who} has {here}; item 0 has {there}")
        for name, part in parts.items():
            _check_alike(name, part, first[name], f"item {at} of {who}")
            if name == "inputs" and inputs is not None:
                inputs[at] = part
            else:
                columns[name].append(part)
    named = {
        name.removeprefix(_NAMED): _stacked(column)
        for name, column in columns.items()
        if name.startswith(_NAMED)
    }
    arrays = {n: np.stack(c) for n, c in columns.items() if not n.startswith(_NAMED)}
    return {"inputs": named if inputs is None else inputs, **arrays}


def _parts(dataset: Any, at: int, who: str) -> dict[str, Array]:
    """Return the input, the target and perhaps the client of one item, by their roles."""
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
    roles: dict[str, Any] = dict(zip(("inputs", "labels", "client"), item, strict=False))
    if isinstance(roles["inputs"], Mapping):
        inputs = {f"{_NAMED}{name}": part for name, part in roles.pop("inputs").items()}
        roles = {**inputs, **roles}
    return {
        role: array_of(part, f"the {_called(role)} of item {at} of {who}")
        for role, part in roles.items()
    }


def _called(role: str) -> str:
    """Return what a part of an item is called in messages."""
    singular = {"inputs": "input", "labels": "target", "client": "client"}
    return singular[role] if role in singular else f"input '{role.removeprefix(_NAMED)}'"


def _stacked(column: list[Array]) -> Array | Ragged:
    """Return rows as one array, or behind one another where they have several lengths."""
    sizes = [part.shape[:1] for part in column]
    if len({*sizes}) == 1:
        return np.stack(column)
    return Ragged(np.concatenate(column), np.cumsum([0, *(len(part) for part in column)]))


def _check_alike(role: str, part: Array, first: Array, which: str) -> None:
    """Refuse an item that does not fit with the first; named inputs may have several lengths."""
    is_input = role not in ("labels", "client")
    called = f"an {_called(role)}" if is_input else f"a {_called(role)}"
    skipped = 1 if role.startswith(_NAMED) and part.ndim == first.ndim else 0
    if part.shape[skipped:] != first.shape[skipped:]:
        shapes = f"{part.shape}, item 0 {first.shape}"
        raise DataError(f"{which} has {called} of the shape {shapes}: all must be of one shape")
    is_other_kind = (part.dtype.kind in "US") != (first.dtype.kind in "US")
    if is_other_kind or (is_input and not np.can_cast(part.dtype, first.dtype, "same_kind")):
        raise DataError(f"{which} has {called} {part.dtype}, item 0 {first.dtype}")
