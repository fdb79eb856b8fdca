"""Files that are there whole or not at all, whenever the process or the machine dies."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path

from fedsim.errors import RunError

__all__ = ["append", "plain", "replace", "sync", "write"]


def plain(value: object) -> object:
    """Return ``value`` as strict JSON holds it: dataclasses as objects, NaN and Inf as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, os.PathLike) else value


@contextmanager
def _named(path: Path, size: int | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        bytes_ = "" if size is None else f" ({size} bytes)"
        reason = error.strerror or str(error)
        raise RunError(
            f"cannot write {path}{bytes_}: {reason}; what was saved before is kept"
        ) from error


def sync(path: Path) -> None:
    """Wait until ``path``, a file or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replace(path: Path, size: int | None = None) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes ``path`` when the block ends well.

    Args:
        path: where the file will be.
        size: how many bytes it will have, where that is known: for the message of a full disk.

    Raises:
        RunError: if the disk is full or refuses the file; an old ``path`` is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _named(path, size):
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write(path: Path, content: str | bytes | object) -> None:
    """Write text (UTF-8), bytes, or anything else as indented JSON, by rename.

    Raises:
        RunError: if the disk is full or refuses the file; an old ``path`` is then untouched.
    """
    if not isinstance(content, (str, bytes)):
        content = json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    data = content.encode() if isinstance(content, str) else content
    with replace(path, len(data)) as temporary:
        temporary.write_bytes(data)


def append(path: Path, line: str) -> None:
    """Add one line in one write, and wait until it is on the disk.

    Raises:
        RunError: if the disk is full or refuses the line.
    """
    data = line.encode() + b"\n"
    with _named(path, len(data)), path.open("ab", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())
