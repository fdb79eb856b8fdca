"""Text to predict the next token of: a file, a folder of files, or an archive of roles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedsim.data.header import Header
from fedsim.data.sources._windows import TextWindows
from fedsim.errors import DataError

__all__ = ["Text"]


@dataclass(frozen=True)
class Text(TextWindows):
    """A ``.txt`` file is one client's text, and a folder holds a ``.txt`` file for each client.

    An ``.npz`` holds ``text`` (ASCII bytes), ``offset`` and ``client`` of its parts, and
    ``client_names``.
    """

    path: str
    """The file or folder."""

    def texts(self, folder: Path) -> Sequence[tuple[str, bytes]]:
        """Return each client's name and text.

        Raises:
            DataError: if the file cannot be read.
        """
        place = folder / self.path
        if place.is_dir():
            return [(file.stem, _read(file)) for file in sorted(place.glob("*.txt"))]
        return _roles(place) if place.suffix == ".npz" else [(place.stem, _read(place))]

    def peek(self, folder: Path) -> Header:
        """Return what is known without reading the text.

        Raises:
            DataError: if there is no such file.
        """
        if not (folder / self.path).exists():
            raise DataError(f"there is no file or folder {self.path!r}", "path")
        return super().peek(folder)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file.name}: {error.strerror}", "path") from error


def _roles(file: Path) -> list[tuple[str, bytes]]:
    """Return each client's text, its parts joined by line ends."""
    import numpy as np

    try:
        with np.load(file, allow_pickle=False) as archive:
            text, offset, client = (archive[name] for name in ("text", "offset", "client"))
            names = [str(name) for name in archive["client_names"]]
    except (OSError, ValueError, KeyError) as error:
        wants = "text, offset, client and client_names are needed"
        raise DataError(f"{file.name}: {wants}: {error}", "path") from error
    parts: list[list[bytes]] = [[] for _ in names]
    for at, owner in enumerate(client):
        parts[owner].append(text[offset[at] : offset[at + 1]].tobytes())
    return [(name, b"\n".join(some)) for name, some in zip(names, parts, strict=True)]
