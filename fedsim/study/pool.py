"""Worker processes for a study's cells: one may die without taking the others with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Literal

from fedsim.study.worker import STOP

__all__ = ["News", "Order", "Pool"]

_PATIENCE = 20.0
"""Seconds a worker has to put down what it is doing."""


@dataclass(frozen=True)
class Order:
    """A cell to run."""

    cell: str
    scenario: Path
    folder: Path
    sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class News:
    """What a worker did with a cell."""

    cell: str
    status: Literal["started", "finished", "failed", "left"]
    why: str = ""
    accuracy: float | None = None


class Pool:
    """Runs orders on ``jobs`` processes."""

    def __init__(self, orders: list[Order], jobs: int, log: Path) -> None:
        self._waiting = deque(orders)
        self._log = log
        self._news: SimpleQueue[News | None] = SimpleQueue()
        self._living: set[subprocess.Popen[str]] = set()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(jobs)]

    def run(self) -> Iterator[News]:
        """Yield the news as they come in; closing the iterator stops the workers.

        A worker that is stopped finishes no cell; every cell can be resumed.
        """
        for thread in self._threads:
            thread.start()
        working = len(self._threads)
        try:
            while working:
                news = self._news.get()
                working -= news is None
                if news is not None:
                    yield news
        finally:
            self._stop()

    def _stop(self) -> None:
        self._waiting.clear()
        for process in list(self._living):
            process.send_signal(signal.SIGTERM)
        for thread in self._threads:
            thread.join(_PATIENCE)
        for process in list(self._living):
            process.kill()

    def _serve(self) -> None:
        """Keep one worker busy; a dead one is replaced at the next cell."""
        process: subprocess.Popen[str] | None = None
        while self._waiting:
            try:
                order = self._waiting.popleft()
            except IndexError:  # another thread was faster
                break
            self._news.put(News(order.cell, "started"))
            process = process or self._spawn()
            self._news.put(News(order.cell, **_asked(process, order)))
            if process.poll() is not None:
                self._dismiss(process)
                process = None
        if process is not None:
            self._dismiss(process)
        self._news.put(None)

    def _dismiss(self, process: subprocess.Popen[str]) -> None:
        try:
            process.communicate(STOP + "\n", timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        self._living.discard(process)

    def _spawn(self) -> subprocess.Popen[str]:
        # Workers share the machine: each computes on one thread, which keeps sums equal too.
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        with self._log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "fedsim.study.worker", *sys.argv[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        self._living.add(process)
        return process


def _asked(process: subprocess.Popen[str], order: Order) -> Mapping[str, Any]:
    """Return what the worker says of the order, or how it died."""
    told = {
        "scenario": str(order.scenario),
        "folder": str(order.folder),
        "sets": list(order.sets),
    }
    line = ""
    try:
        _pipe(process.stdin).write(json.dumps(told) + "\n")
        _pipe(process.stdin).flush()
        line = _pipe(process.stdout).readline()
    except BrokenPipeError:
        pass
    if line:
        said: dict[str, Any] = json.loads(line)
        return said
    code = process.wait()
    if -code in (signal.SIGTERM, signal.SIGINT):
        return {"status": "left"}
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return {"status": "failed", "why": f"its process ended {how}"}


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise BrokenPipeError("the worker has no pipe")
    return pipe
