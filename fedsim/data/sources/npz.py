"""Arrays in a NumPy archive, ``.npz``: images, tables, anything with one row per example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fedsim.data.array_reading import Loaded, as_inputs, reading
from fedsim.data.dataset import Array, Dataset
from fedsim.data.table import Column, Missing, filled, joined
from fedsim.errors import DataError

__all__ = ["Npz"]

_USUAL = {
    "inputs": ("inputs", "x_train", "x", "X_train", "X", "images", "data"),
    "labels": ("labels", "y_train", "y", "Y_train", "Y", "targets"),
    "test_inputs": ("test_inputs", "x_test", "X_test"),
    "test_labels": ("test_labels", "y_test", "Y_test"),
    "client": ("client", "client_train", "clients"),
    "domain": ("domain", "domain_train", "domains"),
    "test_domain": ("test_domain", "domain_test"),
    "weight": (),
    "test_weight": (),
}


@dataclass(frozen=True)
class Npz:
    """Arrays by key; the usual keys (x_train, y_train, x_test, x, y, client, ...) are found.

    ``class_names``, ``client_names`` and ``domain_names`` are read where they are there.
    """

    path: str
    """Relative to the scenario file."""
    inputs: str | None = None
    """Key of the inputs, (n, ...): images may be (n, height, width) or with channels last."""
    labels: str | None = None
    """Key of the labels: class numbers from 0, or floats, or (n, k) of 0 and 1."""
    test_inputs: str | None = None
    """Key of the test split's inputs."""
    test_labels: str | None = None
    """Key of the test split's labels."""
    client: str | None = None
    """Key of each training example's client, for the natural partition."""
    domain: str | None = None
    """Key of each training example's domain."""
    test_domain: str | None = None
    """Key of each test example's domain."""
    categorical: str | None = None
    """Key of a mask (columns,) of a table: these columns become one-hot."""
    weight: str | None = None
    """Key of how much each training example counts, (n,)."""
    test_weight: str | None = None
    """Key of how much each test example counts."""
    inputs_as: Literal["auto", "numbers", "tokens"] = "auto"
    """What integers (n, length) are: amounts, or token ids, which are never normalised; auto:
    token ids, unless they are bytes (uint8) or there is a mask of categories."""
    missing: Missing = "error"
    """What a NaN becomes: the mean of its column, zero, or an error."""

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return what the archive holds; ``seed`` is of no account.

        Raises:
            DataError: if there is no such file or key, or the arrays do not fit together.
        """
        path = folder / self.path
        with reading(path), np.load(path, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                raise DataError("it is one array (.npy); an archive (.npz) is needed")
            arrays = {role: archive[key] for role in _USUAL if (key := self._key(role, archive))}
            mask = archive[self._key("categorical", archive)] if self.categorical else None
            if self._are_tokens(arrays["inputs"], mask):
                arrays |= _tokens(arrays)
            else:
                arrays |= _inputs(arrays, mask, self.missing)
            return Loaded(
                **arrays,
                class_names=_names(archive, "class_names"),
                client_names=_names(archive, "client_names"),
                domain_names=_names(archive, "domain_names"),
            ).dataset()

    def _are_tokens(self, inputs: Array, mask: Array | None) -> bool:
        if self.inputs_as == "auto":
            return mask is None and are_token_ids(inputs.dtype.str, inputs.shape)
        return self.inputs_as == "tokens"

    def _key(self, role: str, archive: Mapping[str, Array]) -> str:
        """Return the key of the array for ``role``: the one said, a usual one, or an empty text.

        Raises:
            DataError: if there is no such key, or none that must be.
        """
        named: str | None = getattr(self, role)
        if named and named not in archive:
            raise DataError(f"no array is called '{named}'; there are {', '.join(archive)}")
        key_found = named or next((key for key in _USUAL[role] if key in archive), "")
        if not key_found and role in ("inputs", "labels"):
            raise DataError(f"no array looks like {role}; say {role}: one of {', '.join(archive)}")
        return key_found


def _names(archive: Mapping[str, Array], key: str) -> tuple[str, ...]:
    return tuple(str(name) for name in archive[key]) if key in archive else ()


def are_token_ids(dtype: str, shape: Sequence[int]) -> bool:
    """Return whether an array of this kind is taken for token ids where nobody says."""
    return len(shape) == 2 and dtype[1] in "iu" and dtype[1:] != "u1"


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


def _inputs(arrays: Mapping[str, Array], mask: Array | None, missing: Missing) -> dict[str, Array]:
    """Return the inputs of both splits, as numbers, with nothing missing."""
    train, test = as_inputs(arrays["inputs"]), arrays.get("test_inputs")
    test = None if test is None else as_inputs(test)
    if mask is None:
        train, test = filled(train, test, missing)
    elif train.ndim != 2 or mask.shape != train.shape[1:]:
        raise DataError(f"the mask has the shape {mask.shape} for inputs of {train.shape}")
    else:
        columns = [
            Column(str(k), train[:, k], None if test is None else test[:, k], bool(is_category))
            for k, is_category in enumerate(mask)
        ]
        train, test = joined(columns, missing)
    return {"inputs": train} | ({} if test is None else {"test_inputs": test})
