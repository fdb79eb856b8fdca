"""The catalogue of public data sets: what is known of each, and where its files lie here.

It imports neither NumPy nor pandas: ``fedsim check`` asks whether a data set is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fedsim.errors import DataError
from fedsim.schema.wording import did_you_mean

__all__ = [
    "CatalogueEntry",
    "RemoteFile",
    "catalogue",
    "catalogue_folder",
    "checksums_in",
    "entry_named",
    "local_files",
    "sha256_of",
    "write_checksums",
]

_CHECKSUMS = "sha256.json"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set, where it is to be had."""

    url: str
    bytes: int | None = None
    """None where that is not known before it is downloaded."""
    sha256: str | None = None

    @property
    def name(self) -> str:
        """What it is called here."""
        return unquote(urlsplit(self.url).path).rpartition("/")[2].replace("+", " ")


@dataclass(frozen=True)
class CatalogueEntry:
    """A public data set."""

    name: str
    title: str
    task: str
    """What there is to learn, as a scenario names it."""
    licence: str
    citation: str
    page: str
    """Where its authors or its keepers describe it."""
    reader: str
    files: tuple[RemoteFile, ...]
    rows: int
    """Training examples."""
    test_rows: int = 0
    """Those of its own test split; 0 where it has none."""
    shape: tuple[int, ...] | None = None
    """Of one example; None for a table, whose categories become columns."""
    class_names: tuple[str, ...] = ()
    has_clients: bool = False
    layout: Mapping[str, Any] = field(default_factory=dict)
    """What its reader has to know."""

    @classmethod
    def of(cls, name: str, values: Mapping[str, Any]) -> CatalogueEntry:
        """Return an entry from the plain values that a file holds."""
        files = tuple(RemoteFile(**file) for file in values["files"])
        shape = tuple(values["shape"]) if "shape" in values else None
        names = tuple(values.get("class_names", ()))
        others = {**values, "files": files, "shape": shape, "class_names": names}
        return cls(name, **others)


@lru_cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """Return all entries by name, in alphabetical order."""
    text = Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    return {name: CatalogueEntry.of(name, v) for name, v in sorted(tomllib.loads(text).items())}


def entry_named(name: str) -> CatalogueEntry:
    """Return the entry ``name``.

    Raises:
        DataError: if there is none.
    """
    entries = catalogue()
    if name not in entries:
        hint = did_you_mean(name, entries) or f"there are {', '.join(entries)}"
        raise DataError(f"no data set is called {name!r}; {hint}", "dataset")
    return entries[name]


def catalogue_folder() -> Path:
    """Return where data sets are kept: ``FEDSIM_DATA``, or a folder in the user's cache."""
    if chosen := os.environ.get("FEDSIM_DATA"):
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "fedsim", "data")


def local_files(entry: CatalogueEntry, is_checked: bool = True) -> dict[str, Path]:
    """Return the files of a data set by name.

    Args:
        entry: of the catalogue.
        is_checked: compare each with its checksum, which reads it; else only look for it.

    Raises:
        DataError: if one is not here, or is not what was downloaded.
    """
    folder = catalogue_folder() / entry.name
    recorded = checksums_in(folder)
    paths = {}
    for file in entry.files:
        path = folder / file.name
        if not path.is_file() or file.name not in recorded:
            raise DataError(
                f"{entry.name} is not here: run fedsim data get {entry.name}", "dataset"
            )
        if is_checked and sha256_of(path) != recorded[file.name]:
            remedy = f"remove it, and run fedsim data get {entry.name}"
            raise DataError(f"{path} is not what was downloaded: {remedy}", "dataset")
        paths[file.name] = path
    return paths


def checksums_in(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that was downloaded to ``folder``, by its name.

    Raises:
        DataError: if what says so is damaged.
    """
    path = folder / _CHECKSUMS
    if not path.is_file():
        return {}
    try:
        recorded: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged: remove the folder, and get it again") from error
    return recorded


def write_checksums(folder: Path, checksums: Mapping[str, str]) -> None:
    """Write what :func:`checksums_in` reads."""
    unfinished = folder / f"{_CHECKSUMS}.part"
    unfinished.write_text(json.dumps(checksums, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(folder / _CHECKSUMS)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
