"""The lock of a run: one process at a time works in a folder, and a dead one holds nothing."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedsim.errors import RunFolderError

__all__ = ["NAME", "hold", "is_held"]

NAME = ".lock"

# is_held takes the lock for an instant, which must not turn a run away.
_PATIENCE = (0.02, 0.05, 0.1)


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the lock goes with the process, however it ends.

    Raises:
        RunFolderError: if another process holds it; says which, at once.
    """
    try:
        file = (folder / NAME).open("a+")
    except OSError as error:
        raise RunFolderError(f"cannot lock {folder}: {error.strerror}") from error
    with file:
        if not any(_take(file.fileno(), wait) for wait in (*_PATIENCE, 0)):
            file.seek(0)
            raise RunFolderError(f"{folder} is in use by process {file.read().strip()}")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_held(folder: Path) -> bool:
    """Return whether a living process holds ``folder``."""
    try:
        with (folder / NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _take(descriptor: int, wait: float) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(wait)
        return False
    return True
