"""The arrays that a user's functions return as a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fedsim.data.dataset import Dataset
from fedsim.data.dataset_items import read_items
from fedsim.data.named_reading import named_records
from fedsim.data.npz_reading import ArrayLayout, dataset_of
from fedsim.data.returned_arrays import array_of, client_ids, described
from fedsim.data.user_source import FunctionSource, results_of
from fedsim.errors import DataError
from fedsim.seeds import torch_defaults

__all__ = ["arrays_of", "read_functions"]

ROLES = ("inputs", "labels", "client")
WANTED = "a torch Dataset, (inputs, targets) or (inputs, targets, client)"


class ArraySource(FunctionSource, ArrayLayout, Protocol):
    """A source that is a function, and what its arrays are."""


def read_functions(source: ArraySource, seed: int, folder: Path) -> Dataset:
    """Return what the functions of ``source`` give.

    Torch's default generator is seeded meanwhile: a data set whose items are drawn, such as by
    random transforms, is the same each time.

    Raises:
        DataError: if a function is not there, raises, or returns something else.
    """
    arrays: dict[str, Any] = {}
    with torch_defaults(seed, "source"):
        for function, result in results_of(source, seed, folder):
            split = arrays_of(result, function.who)
            if isinstance(split["inputs"], Mapping):
                split["inputs"] = named_records(source, split["inputs"])
            if function.key == "test":
                split = {f"test_{role}": split[role] for role in ("inputs", "labels")}
            arrays |= split
    try:
        return dataset_of(source, arrays)
    except DataError as error:
        raise DataError(f"{source.path}: {error}", error.parameter) from error


def arrays_of(result: object, who: str) -> dict[str, Any]:
    """Return ``inputs``, ``labels`` and perhaps ``client``, each with a row for an example.

    Inputs may be several by name.

    Args:
        result: a tuple of arrays, tensors or lists, or anything with ``__len__`` and
            ``__getitem__``, whose items are read one by one.
        who: the function as messages call it.

    Raises:
        DataError: if it is anything else, or its parts do not fit together.
    """
    if isinstance(result, tuple):
        if len(result) not in (2, 3):
            raise DataError(f"{who} returned {len(result)} arrays; {WANTED} is expected")
        arrays = {
            role: _returned(values, f"the {role} that {who} returned")
            for role, values in zip(ROLES, result, strict=False)
        }
    elif _is_readable(result):
        arrays = read_items(result, who)
    else:
        raise DataError(f"{who} returned {described(result)}; {WANTED} is expected{_hint(result)}")
    _check_lengths(arrays, who)
    if "client" in arrays:
        arrays["client"] = client_ids(arrays["client"], who)
    return arrays


def _returned(values: Any, which: str) -> Any:
    """Return an array, or those of several inputs by name."""
    if not isinstance(values, Mapping):
        return array_of(values, which)
    return {str(name): array_of(part, f"{which}, '{name}',") for name, part in values.items()}


def _is_readable(result: object) -> bool:
    is_of_rows = hasattr(result, "__len__") and hasattr(result, "__getitem__")
    is_other = isinstance(result, str | bytes | Mapping | set) or hasattr(result, "shape")
    return is_of_rows and not is_other


def _hint(result: object) -> str:
    if type(result).__name__ == "DataFrame":
        return "; the source of a DataFrame is called frame"
    if hasattr(result, "__getitem__") and hasattr(result, "__iter__") and not _has_length(result):
        return "; a Dataset must have a length"
    if hasattr(result, "__iter__") and not _has_length(result):
        return "; what has no length cannot be read"
    return ""


def _has_length(result: object) -> bool:
    return hasattr(result, "__len__")


def _check_lengths(arrays: Mapping[str, Any], who: str) -> None:
    arrays = {role: a for role, a in arrays.items() if not isinstance(a, Mapping)}
    for role, array in arrays.items():
        if array.ndim == 0:
            raise DataError(f"the {role} that {who} returned are one number, no array")
    lengths = [len(array) for array in arrays.values()]
    if len({*lengths}) > 1:
        counts = ", ".join(f"{len(array)} {role}" for role, array in arrays.items())
        raise DataError(f"{who} returned {counts}: there must be as many of each")
