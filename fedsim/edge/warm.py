"""Flower's SuperNode, with clients that start warm: ``python -m fedsim.edge.warm WORDS``.

Flower starts a process for every message, which spends seconds on imports before it trains.
Here a process beside the SuperNode has imported everything and only forks: a child for each
message, alone with it as Flower wants it, and gone after it.  ``warm_call.py`` stands where
Flower looks for its command and passes the words on; without an answer it runs the command.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from fedsim.flower.flwr_internals import import_clientapp, run_clientapp, run_supernode

__all__ = ["SOCKET", "main"]

SOCKET = "FEDSIM_WARM"
"""The environment's word for where the warm process listens."""

_ASKS_EVERY = 0.5
"""Seconds between a device's questions for work."""

_LOOK_S = 1.0
"""Between two looks whether the SuperNode is still there."""


def main() -> None:
    """Run a SuperNode by the words of the command line, and the warm process beside it.

    ``FEDSIM_WARM=off`` in the environment leaves the warm process out: it holds some 300 MB.
    """
    if os.environ.get(SOCKET) == "off":
        return run_supernode(_ASKS_EVERY)
    with _place() as path:
        os.environ[SOCKET] = str(path)
        # One thread, as in a simulation; and a pool of threads would not survive a fork.
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
        door = socket.socket(socket.AF_UNIX)
        door.bind(str(path))
        door.listen(16)
        if os.fork() == 0:
            _serve(door, os.getppid())
        door.close()
        run_supernode(_ASKS_EVERY)


@contextmanager
def _place() -> Iterator[Path]:
    """Give a path for a socket that only this user can reach, and that is short enough."""
    folder = Path(tempfile.mkdtemp(prefix="fedsim-"))
    try:
        yield folder / "warm"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(door: socket.socket, supernode: int) -> NoReturn:
    """Import what every message needs, then fork for each until the SuperNode is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    import fedsim.edge.on_client  # noqa: F401  # and with it torch

    import_clientapp()
    door.settimeout(_LOOK_S)
    while os.getppid() == supernode:
        try:
            caller, _ = door.accept()
        except TimeoutError:
            caller = None
        if caller is not None:
            _fork(door, caller)
        _reap()
    os._exit(0)


def _fork(door: socket.socket, caller: socket.socket) -> None:
    with caller, caller.makefile("rwb") as line:
        words = json.loads(line.readline())
        if os.fork() == 0:
            door.close()
            _answer(words)
        line.write(b"ok\n")


def _answer(words: list[str]) -> NoReturn:
    """Be Flower's process for one message."""
    sys.argv = ["flwr-clientapp", *words]
    code: object = 0
    try:
        run_clientapp()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    main()
