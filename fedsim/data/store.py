"""Prepared data on disk: plain ``.npy`` files that all workers of a machine map and share."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.dataset_checks import names_in
from fedsim.data.partitioning import Partitioned
from fedsim.data.records import sizes_in
from fedsim.errors import DataError

__all__ = ["is_complete", "key", "read", "write"]

_META = "meta.json"
_HASHED = (
    "inputs", "labels", "offsets", "origin", "domain", "target",
    "test_inputs", "test_labels", "test_domain",
)  # fmt: skip
_OPTIONAL = ("weight", "test_weight", "strata")
"""Only where the data has them: the digest of data without them stays what it was."""

_NAMES = ("client_names", "strata_names", "columns", "target_names", "notes")


def is_complete(store: Path) -> bool:
    """Return whether ``store`` was written to the end."""
    return (store / _META).is_file()


def write(partitioned: Partitioned, store: Path) -> None:
    """Write ``partitioned`` beside ``store``, then give it that name: a store is whole or absent.

    Where two processes write the same store, the first wins and the second uses what is there.

    Raises:
        DataError: if the folder cannot be written.
    """
    arrays = {
        name: array
        for name in (*_HASHED, *_OPTIONAL)
        if (array := getattr(partitioned, name)) is not None
    }
    scale = {"centre": partitioned.scale.centre, "spread": partitioned.scale.spread}
    if partitioned.fill is not None:
        scale["fill"] = partitioned.fill
    meta = {
        "format": 2 if names_in(partitioned.inputs) else 1,
        "classes": partitioned.classes,
        "targets": asdict(partitioned.targets),
        "class_names": partitioned.class_names,
        **{name: getattr(partitioned, name) for name in _NAMES},
        "domain_names": partitioned.domain_names,
        "sizes": sizes_in(partitioned.inputs, partitioned.test_inputs),
        "table": [asdict(column) for column in partitioned.table],
        "digest": _digest(arrays),
    }
    unfinished = store.with_name(f".{store.name}.{os.getpid()}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name, array in (arrays | scale).items():
            np.save(unfinished / f"{name}.npy", array, allow_pickle=False)
        (unfinished / _META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        _give_name(unfinished, store)
    except OSError as error:
        raise DataError(f"the prepared data cannot be written to {store}: {error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read(store: Path) -> tuple[Mapping[str, Array], Mapping[str, Any]]:
    """Return the arrays of ``store``, memory-mapped, and its facts.

    Raises:
        DataError: if it is not complete, or of another format.
    """
    try:
        meta = json.loads((store / _META).read_text(encoding="utf-8"))
        if meta["format"] not in (1, 2):
            raise DataError(f"{store} has format {meta['format']}; this fedsim reads 1 and 2")
        optional = [name for name in (*_OPTIONAL, "fill") if (store / f"{name}.npy").is_file()]
        names = (*_HASHED, *optional, "centre", "spread")
        # Plain arrays upon the mappings: a slice of a memmap takes several times as long.
        arrays = {
            name: np.asarray(np.load(store / f"{name}.npy", mmap_mode="r", allow_pickle=False))
            for name in names
        }
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{store} holds no complete prepared data: {error}") from error
    return arrays, meta


def key(store: Path) -> str:
    """Return a hash over the examples, who holds them, and the scale that they are read on.

    Raises:
        DataError: if the store is not complete.
    """
    arrays, meta = read(store)
    digest = hashlib.sha256(meta["digest"].encode())
    for name in ("centre", "spread"):
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _give_name(unfinished: Path, store: Path) -> None:
    try:
        unfinished.rename(store)
    except OSError:
        if not is_complete(store):
            raise


def _digest(arrays: Mapping[str, Array]) -> str:
    """Return a hash over the examples and who holds them, whatever the scale they are read on."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        kind = array.dtype.descr if names_in(array) else array.dtype.str
        digest.update(f"{name} {kind} {array.shape}\n".encode())
        content = np.ascontiguousarray(array)
        digest.update(content.view(np.uint8).data if names_in(array) else content.data)
    return digest.hexdigest()
