"""Running a study: begin it, go on with it, and keep its ledger."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fedsim.errors import Interrupted, RunFolderError, StudyIncomplete
from fedsim.report import files, lock
from fedsim.report.ledger import LEDGER, Entry, Ledger
from fedsim.scenario.load import load
from fedsim.scenario.schema import Scenario
from fedsim.scenario.study import Study
from fedsim.scenario.yaml_file import dump
from fedsim.study.pool import News, Order, Pool

__all__ = ["Progress", "begin", "go_on"]

_PATIENCE = 15.0
"""Seconds to wait for a run's lock: a worker of a study that was killed is about to go."""


@dataclass(frozen=True)
class Progress:
    """What whoever watches a study is told with every change."""

    ledger: Ledger
    news: News
    seconds_left: float | None
    """None while no cell has finished yet."""


Watch = Callable[[Progress], None]


def begin(study: Study, folder: Path) -> Ledger:
    """Write the ledger of ``study``, with the scenario of every cell beside it.

    Raises:
        RunFolderError: if ``folder`` holds something already.
    """
    if (folder / LEDGER).is_file():
        raise RunFolderError(f"{folder} holds a study; go on with: fedsim resume {folder}")
    if (folder / "cells").exists():
        raise RunFolderError(f"{folder / 'cells'} is there already; name a new folder")
    try:
        (folder / "scenarios").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot make {folder}: {error.strerror}") from error
    entries = []
    for cell in study.cells:
        text = dump(cell.scenario.resolved())
        files.write(_scenario(folder, cell.name), text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        entries.append(Entry(cell.name, cell.levels, cell.seed, digest))
    head = study.head
    report = head.report.model_dump(mode="json")
    report["baseline"] = head.report.baseline or next(iter(study.axes.values()))[0]
    ledger = Ledger(head.name, head.description, study.axes, report, tuple(entries))
    ledger.write(folder)
    return ledger


def go_on(folder: Path, jobs: int, watch: Watch, retry_failed: bool = False) -> Ledger:
    """Run every cell that is not finished; return the ledger.

    Args:
        folder: of a study that was begun.
        jobs: how many cells run side by side.
        watch: is called with every change of the ledger.
        retry_failed: whether cells that failed are run once more, from where they stopped.

    Raises:
        StudyIncomplete: if a cell failed; all others are finished.
        Interrupted: on Ctrl-C; every cell can be resumed.
        RunFolderError: if another process works on the study.
    """
    with lock.hold(folder):
        ledger = Ledger.read(folder)
        again = {"left", "started"} | ({"failed"} if retry_failed else set())
        todo = [entry for entry in ledger.cells if entry.status in again]
        scenarios = [load(_scenario(folder, entry.name)) for entry in todo]
        jobs = min(jobs, len(todo)) if _may_share(scenarios) else 1
        sets = ("compute.backend=local",)
        orders = [
            Order(
                entry.name,
                _scenario(folder, entry.name),
                folder / "cells" / entry.name,
                sets if jobs > 1 and scenario.compute.address is None else (),
            )
            for entry, scenario in zip(todo, scenarios, strict=True)
        ]
        _wait(order.folder for order in orders)
        ledger = _play(folder, ledger, Pool(orders, jobs, folder / "study.log"), watch)
    failed = ledger.counts()["failed"]
    if failed:
        whole = f"{failed} of {len(ledger.cells)} cells failed; the others are finished"
        raise StudyIncomplete(f"{whole}. Once more: fedsim resume {folder} --retry-failed")
    return ledger


def _scenario(folder: Path, cell: str) -> Path:
    return folder / "scenarios" / f"{cell}.yaml"


def _may_share(scenarios: Iterable[Scenario]) -> bool:
    """Return whether cells may run side by side.

    Ray on this machine fills it with one cell already, and one Ray serves all cells in turn; on
    a cluster that the scenario names, all cells' workers are of the one cluster.
    """
    return all(one.compute.backend != "ray" or one.compute.address for one in scenarios)


def _wait(folders: Iterable[Path]) -> None:
    until = time.monotonic() + _PATIENCE
    for folder in folders:
        while lock.is_held(folder) and time.monotonic() < until:
            time.sleep(0.1)


def _play(folder: Path, ledger: Ledger, pool: Pool, watch: Watch) -> Ledger:
    """Keep the ledger and the watcher up to date with what the workers do."""
    begun, done = time.monotonic(), 0
    try:
        with closing(pool.run()) as everything:  # type: ignore[type-var]
            for news in everything:
                ledger = _entered(ledger, news)
                ledger.write(folder)
                done += news.status in ("finished", "failed")
                left = ledger.counts()["left"] + ledger.counts()["started"]
                pace = (time.monotonic() - begun) / done if done else None
                watch(Progress(ledger, news, None if pace is None else left * pace))
    except KeyboardInterrupt as error:
        counts = ledger.counts()
        kept = f"{counts['finished']} of {len(ledger.cells)} cells are finished"
        raise Interrupted(f"stopped; {kept}. Go on with: fedsim resume {folder}") from error
    return ledger


def _entered(ledger: Ledger, news: News) -> Ledger:
    if news.status == "started":
        tries = next(one.attempts for one in ledger.cells if one.name == news.cell)
        return ledger.changed(news.cell, status="started", attempts=tries + 1, why="")
    return ledger.changed(news.cell, status=news.status, why=news.why)
