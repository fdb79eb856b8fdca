"""Ships a run's data to a node: by its path where that exists there, else through Ray, once.

A node that was shipped the data keeps it in a folder of the user's own among the temporary
files; whatever no worker has open there makes way for the next shipment.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import ray

from fedsim.data import store as stores
from fedsim.errors import DataError, RunError

__all__ = ["Shipment", "ShippedFile", "at_hand", "cache_folder", "pack", "unpack"]

PIECE = 32 << 20
"""Bytes that are put to Ray's object store at a time."""

_OPEN: list[IO[str]] = []
"""The marks of the stores that this process has open; they are given up when it ends."""


@dataclass(frozen=True)
class Shipment:
    """Which data, and where the driver has it."""

    store: Path
    digest: str
    """Of the examples and of the scale that they are read on."""

    @classmethod
    def of(cls, store: Path) -> Shipment:
        """Return the shipment of a prepared store."""
        return cls(store.absolute(), stores.key(store))

    @property
    def bytes(self) -> int:
        """What shipping it takes."""
        return sum(file.stat().st_size for file in self.store.iterdir())


@dataclass(frozen=True)
class ShippedFile:
    """A file of a store on its way."""

    name: str
    pieces: Sequence[Any]
    """Where Ray keeps its bytes."""
    sha256: str


def at_hand(shipment: Shipment) -> Path | None:
    """Return where this node has the data; None: it has not."""
    if _is(shipment.store, shipment.digest):
        return shipment.store
    with cache_folder() as folder:
        store = folder / shipment.digest
        if not _is(store, shipment.digest):
            return None
        _hold(store)
        return store


def pack(shipment: Shipment) -> list[ShippedFile]:
    """Put the data to Ray's object store, as long as somebody holds what is returned."""
    return [_shipped_file(path) for path in sorted(shipment.store.iterdir())]


def unpack(shipment: Shipment, files: Sequence[ShippedFile]) -> Path:
    """Write the data to this node, unless another worker did, and return where it is.

    Raises:
        RunError: if it cannot be written, or is not what was sent.
    """
    with cache_folder() as folder:
        store, half = folder / shipment.digest, folder / f".{shipment.digest}"
        if not _is(store, shipment.digest):
            try:
                _make_way(folder)
                half.mkdir()
                for file in files:
                    _write(half / file.name, file)
                half.rename(store)
            except OSError as error:
                raise RunError(f"the data cannot be kept in {folder}: {error}") from error
            finally:
                shutil.rmtree(half, ignore_errors=True)
        _hold(store)
        return store


def _is(store: Path, digest: str) -> bool:
    try:
        return stores.key(store) == digest
    except DataError:
        return False


def _shipped_file(path: Path) -> ShippedFile:
    digest, pieces = hashlib.sha256(), []
    with path.open("rb") as file:
        while (piece := np.fromfile(file, np.uint8, PIECE)).size:
            digest.update(piece.data)
            pieces.append(ray.put(piece))
    return ShippedFile(path.name, pieces, digest.hexdigest())


def _write(path: Path, shipped: ShippedFile) -> None:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for ref in shipped.pieces:
            piece = ray.get(ref)
            digest.update(piece.data)
            file.write(piece.data)
    if digest.hexdigest() != shipped.sha256:
        raise RunError(f"the data arrived damaged: {shipped.name}")


@contextmanager
def cache_folder() -> Iterator[Path]:
    """Give this user's folder on this node, to one process at a time.

    Raises:
        RunError: if somebody else could write there.
    """
    folder = Path(tempfile.gettempdir(), f"fedsim-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    stat = folder.lstat()
    if stat.st_uid != os.getuid() or stat.st_mode & 0o77 or folder.is_symlink():
        raise RunError(f"{folder} is not this user's alone: remove it, or set TMPDIR")
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _hold(store: Path) -> None:
    mark = store.with_suffix(".open").open("w")
    fcntl.flock(mark, fcntl.LOCK_SH)
    _OPEN.append(mark)


def _make_way(folder: Path) -> None:
    """Remove the stores that nobody has open, and what a killed worker left half written."""
    for mark in folder.glob("*.open"):
        with mark.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            shutil.rmtree(mark.with_suffix(""), ignore_errors=True)
            mark.unlink()
    for half in folder.glob(".?*/"):
        shutil.rmtree(half, ignore_errors=True)
