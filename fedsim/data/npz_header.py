"""The headers of the arrays in an ``.npz`` file, read without the arrays and without NumPy."""

from __future__ import annotations

import ast
import struct
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from fedsim.errors import DataError

__all__ = ["ArrayHeader", "array_headers"]

_KINDS = {"f": "float", "i": "int", "u": "uint", "c": "complex"}


@dataclass(frozen=True)
class ArrayHeader:
    """Of one array."""

    dtype: str
    """As NumPy names it; ``text`` for texts."""
    shape: tuple[int, ...]


def array_headers(path: Path) -> dict[str, ArrayHeader]:
    """Return the kind of each array in an archive, by key.

    The format is NumPy's, version 1 to 3 (numpy.lib.format): six bytes of magic, two of version,
    the length of the header, and the header as a Python dictionary.

    Raises:
        DataError: if it is no archive of arrays.
    """
    try:
        with ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            return {name.removesuffix(".npy"): _header(archive, name) for name in names}
    except BadZipFile as error:
        raise DataError("it is no archive of arrays (.npz)") from error


def _header(archive: ZipFile, name: str) -> ArrayHeader:
    with archive.open(name) as file:
        start = file.read(8)
        if start[:6] != b"\x93NUMPY":
            raise DataError(f"{name} in it is no array")
        wide = start[6] > 1
        (length,) = struct.unpack("<I" if wide else "<H", file.read(4 if wide else 2))
        header = ast.literal_eval(file.read(length).decode("utf-8"))
    return ArrayHeader(_dtype(header["descr"]), tuple(header["shape"]))


def _dtype(descr: object) -> str:
    """Return NumPy's name of a type that a header gives as ``<f4``."""
    text = descr if isinstance(descr, str) else "O"
    kind, size = text[1:2], text[2:]
    if kind in _KINDS:
        return f"{_KINDS[kind]}{8 * int(size)}"
    return {"b": "bool", "U": "text"}.get(kind, "object")
