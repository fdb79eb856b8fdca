"""The arrays of an ``.npz`` file as a data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from fedsim.data.array_reading import Loaded, as_inputs
from fedsim.data.dataset import Array, Dataset
from fedsim.data.dataset_checks import names_in
from fedsim.data.missing import Missing
from fedsim.data.named_reading import NamedLayout, Ragged, named_records
from fedsim.data.reading import reading
from fedsim.data.table import Column, filled, joined
from fedsim.errors import DataError

__all__ = ["ArrayLayout", "NpzLayout", "dataset_of", "read_npz"]


class ArrayLayout(NamedLayout, Protocol):
    """What arrays of inputs are."""

    def are_tokens(self, dtype: str, shape: Sequence[int]) -> bool:
        """Return whether inputs of this kind are token ids."""
        ...


class NpzLayout(ArrayLayout, Protocol):
    """Which array of an archive is what."""

    def keys(self, present: Iterable[str]) -> dict[str, str]:
        """Return the key of the array for each role, of those that are ``present``."""
        ...

    def named_keys(self, present: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the key of each of several inputs by name, of both splits, if there are."""
        ...


def read_npz(source: NpzLayout, path: Path) -> Dataset:
    """Return what the archive at ``path`` holds, under the keys that ``source`` names.

    Raises:
        DataError: if there is no such file or key, or the arrays do not fit together.
    """
    with reading(path), np.load(path, allow_pickle=False) as archive:
        if isinstance(archive, np.ndarray):
            raise DataError("it is one array (.npy); an archive (.npz) is needed")
        arrays = {role: archive[key] for role, key in source.keys(archive).items()}
        for role, keys in source.named_keys(archive).items():
            if keys:
                raw = {name: _array(archive, key) for name, key in keys.items()}
                arrays[role] = named_records(source, raw)
        named = ("feature_names", "class_names", "client_names", "domain_names")
        return dataset_of(source, arrays, {name: _names(archive, name) for name in named})


def dataset_of(
    source: ArrayLayout,
    arrays: Mapping[str, Array],
    names: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> Dataset:
    """Return arrays by their roles as a data set.

    Args:
        source: what they are.
        arrays: ``inputs``, ``labels`` and perhaps others, as :class:`Loaded` calls them;
            ``categorical`` is a mask of columns.
        names: ``feature_names``, ``class_names``, ``client_names``, ``domain_names``.

    Raises:
        DataError: if they do not fit together.
    """
    parts: dict[str, Any] = {**arrays, **names}
    mask, features = parts.pop("categorical", None), parts.pop("feature_names", ())
    inputs = arrays["inputs"]
    columns: tuple[str, ...] = ()
    if names_in(inputs):
        if mask is not None:
            raise DataError("a mask of categories is for one array of inputs", "categorical")
    elif source.are_tokens(inputs.dtype.name, inputs.shape):
        parts |= _tokens(arrays)
    else:
        numbers, columns = _inputs(arrays, mask, source.missing, features)
        parts |= numbers
    has_gaps = source.missing == "mean"
    return Loaded(**parts, columns=columns, has_gaps=has_gaps).dataset()


def _array(archive: Mapping[str, Array], key: str) -> Array | Ragged:
    offsets = f"{key}.offsets"
    return Ragged(archive[key], archive[offsets]) if offsets in archive else archive[key]


def _names(archive: Mapping[str, Array], key: str) -> tuple[str, ...]:
    return tuple(str(name) for name in archive[key]) if key in archive else ()


def _tokens(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the inputs of both splits as token ids, int64."""
    splits = {name: arrays[name] for name in ("inputs", "test_inputs") if name in arrays}
    for values in splits.values():
        if values.dtype.kind not in "iu":
            raise DataError(f"the inputs are {values.dtype}; token ids are integers")
        if values.size and values.min() < 0:
            remedy = "say inputs_as: numbers if they are amounts"
            raise DataError(
                f"the inputs go down to {values.min()}; token ids start from 0: {remedy}"
            )
    return {name: values.astype(np.int64) for name, values in splits.items()}


def _inputs(
    arrays: Mapping[str, Array], mask: Array | None, missing: Missing, names: tuple[str, ...]
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the inputs of both splits, as numbers, with nothing missing, and their columns."""
    train, test = as_inputs(arrays["inputs"]), arrays.get("test_inputs")
    test = None if test is None else as_inputs(test)
    if mask is None:
        train, test = filled(train, test, missing)
        columns = names if train.shape[1:] == (len(names),) else ()
    elif train.ndim != 2 or mask.shape != train.shape[1:]:
        raise DataError(f"the mask has the shape {mask.shape} for inputs of {train.shape}")
    else:
        called = names if len(names) == len(mask) else [str(number) for number in range(len(mask))]
        train, test, columns = joined(
            [
                Column(name, train[:, k], None if test is None else test[:, k], bool(mask[k]))
                for k, name in enumerate(called)
            ],
            missing,
        )
    return {"inputs": train} | ({} if test is None else {"test_inputs": test}), columns
