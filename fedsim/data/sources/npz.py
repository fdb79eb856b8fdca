"""Arrays in a NumPy archive, ``.npz``: images, tables, anything with one row per example."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

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
    inputs: str | dict[str, str] | None = None
    """Key of the inputs, (n, ...): images may be (n, height, width) or with channels last. Several
    inputs: {image: KEY, age: KEY}; keys like inputs.image and inputs.age are found."""
    labels: str | None = None
    """Key of the labels: class numbers from 0, or floats, or (n, k) of 0 and 1."""
    test_inputs: str | dict[str, str] | None = None
    """Key of the test split's inputs, or several as above."""
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
    length: Annotated[int, Ge(1)] | None = None
    """How many values a model is given of an input by name whose rows have several lengths (KEY
    and KEY.offsets): they are filled up with zeros, or cut off."""

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
            keys, named = self.keys(arrays), self.named_keys(arrays)
            labels = arrays[keys["labels"]]
            test = arrays[keys["test_labels"]].shape[0] if "test_labels" in keys else 0
            return Header(
                fields=(
                    {name: self._named(arrays[key]) for name, key in named["inputs"].items()}
                    if named
                    else {"inputs": self._inputs(arrays[keys["inputs"]])}
                ),
                targets=FieldSpec(
                    labels.dtype,
                    labels.shape[1:],
                    "numeric" if labels.dtype.startswith("float") else "classes",
                ),
                rows=labels.shape[0] if named else arrays[keys["inputs"]].shape[0],
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
        named = self.named_keys(there)
        roles = [role for role in (*_USUAL, "categorical") if role not in named]
        keys = {role: self._key(role, there) for role in roles}
        return {role: key for role, key in keys.items() if key}

    def named_keys(self, present: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the key of each input by its name, of both splits; empty where it is one array.

        Raises:
            DataError: if there is no such key.
        """
        there = [*present]
        keys = {role: self._names(role, there) for role in ("inputs", "test_inputs")}
        if not keys["inputs"]:
            return {}
        if keys["test_inputs"] and {*keys["inputs"]} != {*keys["test_inputs"]}:
            names = ", ".join(keys["inputs"])
            raise DataError(f"the test split has other inputs than {names}", "test_inputs")
        return keys

    def _names(self, role: str, there: Sequence[str]) -> dict[str, str]:
        named: str | dict[str, str] | None = getattr(self, role)
        if isinstance(named, dict):
            if absent := [key for key in named.values() if key not in there]:
                raise _no_array(absent[0], there, role)
            return named
        if named is not None or role in there:
            return {}
        prefix = f"{role}."
        matching = [k for k in there if k.startswith(prefix) and not k.endswith(".offsets")]
        return {key.removeprefix(prefix): key for key in matching}

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

    def _named(self, array: ArrayHeader) -> FieldSpec:
        """Return the kind of one of several inputs; of rows of several lengths without a shape."""
        is_integer = array.dtype.startswith(("int", "uint")) and array.dtype != "uint8"
        if is_integer and self.inputs_as != "numbers":
            return FieldSpec("int64", None, "tokens")
        return FieldSpec("uint8" if array.dtype == "uint8" else "float32", None)

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


def _no_array(name: str, there: Sequence[str], role: str) -> DataError:
    return DataError(f"no array is called '{name}'; there are {', '.join(there)}", role)
