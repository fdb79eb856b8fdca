"""A time limit on a client's turn."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["OutOfTime", "time_limit"]


AGAIN_S = 1.0


class OutOfTime(BaseException):
    """A turn took too long; no ``except Exception`` of a client's own can hold it back."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise :class:`OutOfTime` inside the block after ``seconds``; None sets no limit.

    Works by an alarm signal, so only in a main thread and only between two steps of Python: a
    turn that hangs inside native code is ended by its grid, which kills the worker.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise OutOfTime(f"no reply within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    # It rings again: Python swallows what is raised inside a callback of the garbage collector.
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
