"""Arrays in a NumPy archive, ``.npz``: images, tables, anything with one row per example."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedsim.data.header import FieldSpec, Header, laid_out
from fedsim.data.missing import Missing
from fedsim.data.npz_header import ArrayHeader, array_headers
from fedsim.data.reading import reading
from fedsim.errors import DataError

if TYPE_CHECKING:
    from fedsim.data.dataset import Dataset

__all__ = ["Npz"]

_USUAL: dict[str, tuple[str, ...]] = {
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

    ``class_names``, ``client_names``, ``domain_names`` and ``feature_names`` are read where they
    are there.
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
        from fedsim.data.npz_reading import read_npz

        return read_npz(self, folder / self.path)

    def peek(self, folder: Path) -> Header:
        """Return what the headers of the arrays tell.

        Raises:
            DataError: if there is no such file or key.
        """
        path = folder / self.path
        with reading(path):
            arrays = array_headers(path)
            keys = self.keys(arrays)
            labels = arrays[keys["labels"]]
            test = arrays[keys["test_inputs"]].shape[0] if "test_inputs" in keys else 0
            return Header(
                fields={"inputs": self._inputs(arrays[keys["inputs"]])},
                targets=FieldSpec(
                    labels.dtype,
                    labels.shape[1:],
                    "numeric" if labels.dtype.startswith("float") else "classes",
                ),
                rows=arrays[keys["inputs"]].shape[0],
                test_rows=test,
                has_clients="client" in keys,
                has_domains="domain" in keys,
            )

    def keys(self, present: Iterable[str]) -> dict[str, str]:
        """Return the key of the array for each role: the one said, or a usual one that is there.

        Raises:
            DataError: if there is no such key, or none that must be.
        """
        there = [*present]
        keys = {role: self._key(role, there) for role in (*_USUAL, "categorical")}
        return {role: key for role, key in keys.items() if key}

    def are_tokens(self, dtype: str, shape: Sequence[int]) -> bool:
        """Return whether inputs of this kind, such as ``int64``, are token ids."""
        if self.inputs_as != "auto":
            return self.inputs_as == "tokens"
        is_integer = dtype.startswith(("int", "uint")) and dtype != "uint8"
        return is_integer and len(shape) == 2 and self.categorical is None

    def _inputs(self, array: ArrayHeader) -> FieldSpec:
        if self.are_tokens(array.dtype, array.shape):
            return FieldSpec("int64", array.shape[1:], "tokens")
        shape = None if self.categorical else laid_out(array.shape)[1:]
        kind = "image" if shape and len(shape) == 3 else "numeric"
        return FieldSpec("uint8" if array.dtype == "uint8" else "float32", shape, kind)

    def _key(self, role: str, there: Sequence[str]) -> str:
        named: str | None = getattr(self, role)
        if named and named not in there:
            raise DataError(f"no array is called '{named}'; there are {', '.join(there)}", role)
        usual = _USUAL.get(role, ())
        key = named or next((key for key in usual if key in there), "")
        if not key and role in ("inputs", "labels"):
            choice = f"say {role}: one of {', '.join(there)}"
            raise DataError(f"no array looks like {role}; {choice}", role)
        return key
