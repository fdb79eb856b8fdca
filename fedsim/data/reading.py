"""Errors of readers of files, as one line that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedsim.errors import DataError, FedsimError

__all__ = ["reading"]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a reader of files raises into one line that names the file.

    Raises:
        DataError: if the block raises anything but another error of fedsim's own.
    """
    if not path.exists():
        raise DataError(f"there is no {path}", "path")
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}", error.parameter) from error
    except FedsimError:
        raise
    except Exception as error:  # Readers of foreign formats raise whatever their parsers do.
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} cannot be read: {reason}", "path") from error
