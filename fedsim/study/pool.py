"""Worker processes for a study's cells: one may die without taking the others with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Literal

from fedsim.study.study_worker import STOP

__all__ = ["CellOrder", "Pool", "WorkerAnswer"]

_PATIENCE = 20.0
"""Seconds a worker has to put down what it is doing."""


@dataclass(frozen=True)
class CellOrder:
    """A cell to run."""

    cell: str
    scenario: Path
    folder: Path
    sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkerAnswer:
    """What a worker did with a cell."""

    cell: str
    status: Literal["started", "finished", "failed", "left"]
    why: str = ""
    metric: str = ""
    """The title of the primary metric."""
    value: float | None = None
    """The primary metric at the end of a finished cell."""


class Pool:
    """Runs orders on ``jobs`` processes; more may be added while it runs."""

    def __init__(self, jobs: int, log: Path, environment: Mapping[str, str]) -> None:
        self._orders: SimpleQueue[CellOrder | None] = SimpleQueue()
        self._open = 0
        """Orders that are not over; whoever reads the news counts them."""
        self._is_closed = False
        self._log, self._environment = log, environment
        self._news: SimpleQueue[WorkerAnswer] = SimpleQueue()
        self._living: set[subprocess.Popen[str]] = set()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(jobs)]

    def add(self, orders: Iterable[CellOrder]) -> None:
        """Take more orders, before :meth:`run` or whenever it yields."""
        for order in orders:
            self._open += 1
            self._orders.put(order)

    def run(self) -> Iterator[WorkerAnswer]:
        """Yield the news as they come in, until no order is open; closing stops the workers.

        A worker that is stopped finishes no cell; every cell can be resumed.
        """
        for thread in self._threads:
            thread.start()
        try:
            while self._open:
                news = self._news.get()
                yield news
                self._open -= news.status != "started"
        finally:
            self._stop()

    def _stop(self) -> None:
        self._is_closed = True
        for process in list(self._living) if self._open else ():
            process.send_signal(signal.SIGTERM)
        for _ in self._threads:
            self._orders.put(None)
        for thread in self._threads:
            thread.join(_PATIENCE)
        for process in list(self._living):
            process.kill()

    def _serve(self) -> None:
        """Keep one worker busy; a dead one is replaced at the next cell."""
        process: subprocess.Popen[str] | None = None
        while (order := self._orders.get()) is not None and not self._is_closed:
            self._news.put(WorkerAnswer(order.cell, "started"))
            process = process or self._spawn()
            self._news.put(WorkerAnswer(order.cell, **_asked(process, order)))
            if process.poll() is not None:
                self._dismiss(process)
                process = None
        if process is not None:
            self._dismiss(process)

    def _dismiss(self, process: subprocess.Popen[str]) -> None:
        try:
            process.communicate(STOP + "\n", timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        self._living.discard(process)

    def _spawn(self) -> subprocess.Popen[str]:
        # Workers share the machine: each computes on one thread, which keeps sums equal too.
        environment = {"OMP_NUM_THREADS": "1", **os.environ, **self._environment}
        with self._log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "fedsim.study.study_worker", *sys.argv[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        self._living.add(process)
        return process


def _asked(process: subprocess.Popen[str], order: CellOrder) -> Mapping[str, Any]:
    """Return what the worker says of the order, or how it died."""
    request = {
        "scenario": str(order.scenario),
        "folder": str(order.folder),
        "sets": list(order.sets),
    }
    line = ""
    try:
        _pipe(process.stdin).write(json.dumps(request) + "\n")
        _pipe(process.stdin).flush()
        line = _pipe(process.stdout).readline()
    except BrokenPipeError:
        pass
    if line:
        answer: dict[str, Any] = json.loads(line)
        return answer
    code = process.wait()
    if -code in (signal.SIGTERM, signal.SIGINT):
        return {"status": "left"}
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return {"status": "failed", "why": f"its process ended {how}"}


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise BrokenPipeError("the worker has no pipe")
    return pipe
