"""Processes that end with the one that started them, and all that they have started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["end", "family", "start"]

_PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str], environment: Mapping[str, str], log: IO[bytes] | int
) -> subprocess.Popen[bytes]:
    """Start a process that writes to ``log`` and is told to end when this one dies.

    On Linux it is told so even when this process is killed; elsewhere only :func:`end` ends it.
    """
    return subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_tie() if sys.platform == "linux" else None,
    )


def _tie() -> Callable[[], None]:
    prctl = ctypes.CDLL(None).prctl  # looked up here: a forked child should do little

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return tie


def end(process: subprocess.Popen[Any], patience: float = 10.0) -> None:
    """End a process and all that it has started, at first kindly.

    Args:
        process: the one that was started here.
        patience: how many seconds it is given to end by itself.
    """
    every = [process.pid, *family(process.pid)]
    born = {pid: _born(pid) for pid in every}
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    until = time.monotonic() + patience
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    # Flower's workers watch for their parent's death themselves, every few seconds.
    survivors = [pid for pid in every if born[pid] and _born(pid) == born[pid]]
    for pid in survivors:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    while any(_born(pid) == born[pid] for pid in survivors) and time.monotonic() < until:
        time.sleep(0.1)
    for pid in survivors:
        if _born(pid) == born[pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def family(pid: int) -> list[int]:
    """Return the processes that ``pid`` has started, and theirs; none where /proc is absent."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if (stat := _stat(int(folder.name))) is not None:
            parents[int(folder.name)] = int(stat[1])
    descendants = [pid]
    for process in descendants:
        descendants += [child for child, parent in parents.items() if parent == process]
    return descendants[1:]


def _born(pid: int) -> str:
    """Return when a process was started, in the kernel's count: tells it from a namesake."""
    stat = _stat(pid)
    return "" if stat is None or stat[0] == "Z" else stat[19]


def _stat(pid: int) -> list[str] | None:
    """Return the fields of ``/proc/PID/stat`` after the name: state, parent, and so on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()
