"""The files of a data set of the catalogue as examples."""

from __future__ import annotations

import gzip
import io
import math
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedsim.data.array_reading import Loaded, as_inputs
from fedsim.data.catalogue_entries import CatalogueEntry
from fedsim.data.dataset import Array, Dataset
from fedsim.data.missing import Missing
from fedsim.data.packages import needed_by
from fedsim.data.reading import reading
from fedsim.errors import DataError

__all__ = ["read_entry"]

_IDX_BYTES = 0x08
"""The code of unsigned bytes in an IDX file, the only type that these data sets have."""


def read_entry(
    entry: CatalogueEntry, files: Mapping[str, Path], client: str | None, missing: Missing | None
) -> Dataset:
    """Return a data set of the catalogue.

    Args:
        entry: of the catalogue.
        files: its files by name, as :func:`fedsim.data.catalogue_entries.local_files` gives them.
        client: the column of a table that names clients; None: the entry's.
        missing: what an absent number of a table becomes; None: as the entry says.

    Raises:
        DataError: if a file holds something else.
        MissingPackage: if reading it needs a package that is not installed.
    """
    with reading(next(iter(files.values()))):
        if entry.reader == "table":
            with needed_by(f"the data set {entry.name}"):
                import pandas as pd  # noqa: F401
            from fedsim.data.catalogue_tables import read_tables

            return read_tables(entry, files, client, missing)
        arrays: dict[str, Any] = {**_READERS[entry.reader](files)}
        return Loaded(**arrays, class_names=entry.class_names).dataset()


def _idx(files: Mapping[str, Path]) -> dict[str, Array]:
    """Return images and labels in IDX files, as http://yann.lecun.com/exdb/mnist describes them."""
    splits = {"": "train", "test_": "t10k"}
    arrays = {}
    for prefix, split in splits.items():
        images = _idx_array(files[f"{split}-images-idx3-ubyte.gz"])
        arrays[f"{prefix}inputs"] = as_inputs(images)
        arrays[f"{prefix}labels"] = _idx_array(files[f"{split}-labels-idx1-ubyte.gz"])
    return arrays


def _idx_array(path: Path) -> Array:
    """Return the array in an IDX file: two zeros, a type, a rank, sizes of 4 bytes, the values."""
    content = gzip.decompress(path.read_bytes())
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _IDX_BYTES:
        raise DataError(f"{path.name} is no IDX file of bytes")
    rank = content[3]
    shape = np.frombuffer(content, ">u4", rank, 4).astype(int).tolist()
    if len(content) != 4 + 4 * rank + math.prod(shape):
        raise DataError(f"{path.name} is {len(content)} bytes, no array of the shape {shape}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _cifar(files: Mapping[str, Path]) -> dict[str, Array]:
    """Return CIFAR-10's binary version: records of a label and 3 planes of 32x32 bytes."""
    (path,) = files.values()
    records = {}
    with tarfile.open(path) as archive:
        for name in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
            member = archive.extractfile(f"cifar-10-batches-bin/{name}")
            if member is None:
                raise DataError(f"it holds no file {name}")
            records[name] = np.frombuffer(member.read(), np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    test = records.pop("test_batch.bin")
    train = np.concatenate([*records.values()])
    return {
        "inputs": train[:, 1:].reshape(-1, 3, 32, 32).copy(),
        "labels": train[:, 0],
        "test_inputs": test[:, 1:].reshape(-1, 3, 32, 32).copy(),
        "test_labels": test[:, 0],
    }


def _har(files: Mapping[str, Path]) -> dict[str, Array]:
    """Return the 561 features of both splits; activities are numbered from 1 there."""
    (path,) = files.values()
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(path) as outer:
        inner = [name for name in outer.namelist() if name.endswith("UCI HAR Dataset.zip")]
        content = io.BytesIO(outer.read(inner[0])) if inner else path.open("rb")
        with content, zipfile.ZipFile(content) as archive:
            for prefix, split in {"": "train", "test_": "test"}.items():
                parts = {
                    part: _member(archive, f"UCI HAR Dataset/{split}/{part}_{split}.txt")
                    for part in ("X", "y", "subject")
                }
                arrays[f"{prefix}inputs"] = parts["X"].astype(np.float32)
                arrays[f"{prefix}labels"] = parts["y"][:, 0].astype(np.int64) - 1
                if not prefix:
                    arrays["client"] = parts["subject"][:, 0].astype(np.int64)
    return arrays


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    """Return the rows of numbers in a text file, ``(n, columns)``."""
    with archive.open(name) as file:
        return np.loadtxt(io.TextIOWrapper(file, "ascii"), ndmin=2)


_READERS: Mapping[str, Callable[[Mapping[str, Path]], dict[str, Array]]] = {
    "idx": _idx,
    "cifar": _cifar,
    "har": _har,
}
