"""Running a study: begin it, go on with it, and keep its ledger."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedsim.errors import Interrupted, RunFolderError, StudyIncomplete
from fedsim.runlog import files, lock
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.study_ledger import LEDGER, StudyEntry, StudyLedger
from fedsim.scenario.load import load
from fedsim.scenario.study_schema import Study
from fedsim.scenario.yaml_file import dump
from fedsim.study.pool import CellOrder, Pool, WorkerAnswer
from fedsim.study.resources import shared
from fedsim.study.search import check_installed
from fedsim.study.tuning import advanced, overrides, searches_of, trials_of

__all__ = ["Progress", "begin", "go_on"]

_PATIENCE = 15.0
"""Seconds to wait for a run's lock: a worker of a study that was killed is about to go."""


@dataclass(frozen=True)
class Progress:
    """What whoever watches a study is told with every change."""

    ledger: StudyLedger
    news: WorkerAnswer
    seconds_left: float | None
    """None while no cell has finished yet."""


Watch = Callable[[Progress], None]


def begin(study: Study, folder: Path) -> StudyLedger:
    """Write the ledger of ``study``, with the scenario of every cell beside it.

    Raises:
        RunFolderError: if ``folder`` holds something already.
        MissingPackage: if there is something to tune, and Optuna is absent.
    """
    if study.searches:
        check_installed()
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
        entries.append(StudyEntry(cell.name, cell.levels, cell.seed, digest))
    head = study.head
    report = head.report.model_dump(mode="json")
    report["baseline"] = head.report.baseline or next(iter(study.axes.values()))[0]
    ledger = StudyLedger(
        head.name,
        head.description,
        study.axes,
        report,
        tuple(entries),
        searches_of(study),
        tuple(trials_of(study)),
    )
    ledger.write(folder)
    return ledger


def go_on(folder: Path, jobs: int, watch: Watch, retry_failed: bool = False) -> StudyLedger:
    """Run every cell that is not finished, trials first; return the ledger.

    Args:
        folder: of a study that was begun.
        jobs: how many cells run side by side.
        watch: is called with every change of the ledger.
        retry_failed: whether cells that failed are run once more, from where they stopped.

    Raises:
        StudyIncomplete: if a cell failed; all others are finished.
        Interrupted: on Ctrl-C; every cell can be resumed.
        MissingPackage: if there is something to tune, and Optuna is absent.
        RunFolderError: if another process works on the study.
    """
    with lock.hold(folder):
        ledger = StudyLedger.read(folder)
        again = {"left", "started"} | ({"failed"} if retry_failed else set())
        todo = [entry for entry in ledger.runs if entry.status in again]
        if any(entry.trial for entry in todo):
            check_installed()
        scenarios = [load(_scenario(folder, line.name)) for line in todo if not line.trial]
        _wait(folder / "cells" / line.name for line in todo)
        with shared(scenarios, min(jobs, len(todo))) as resources:
            pool = Pool(resources.jobs, folder / "study.log", resources.environment)
            ledger = _CellQueue(folder, pool, again, resources.sets).play(ledger, watch)
    failed = ledger.counts()["failed"]
    if failed:
        message = f"{failed} of {len(ledger.cells)} cells failed; the others are finished"
        raise StudyIncomplete(f"{message}. Once more: fedsim resume {folder} --retry-failed")
    return ledger


def _scenario(folder: Path, cell: str) -> Path:
    return folder / "scenarios" / f"{cell}.yaml"


def _wait(folders: Iterable[Path]) -> None:
    until = time.monotonic() + _PATIENCE
    for folder in folders:
        while lock.is_held(folder) and time.monotonic() < until:
            time.sleep(0.1)


class _CellQueue:
    """Hands out what may run, and writes down what became of it."""

    def __init__(
        self, folder: Path, pool: Pool, again: Collection[str], sets: tuple[str, ...]
    ) -> None:
        self._folder, self._pool, self._sets = folder, pool, sets
        self._again = again
        """Runs in these states are handed out, each once."""
        self._given: set[str] = set()

    def play(self, ledger: StudyLedger, watch: Watch) -> StudyLedger:
        """Keep the ledger and the watcher up to date with what the workers do."""
        begun, done = time.monotonic(), 0
        try:
            ledger = self._handed_out(ledger)
            with closing(self._pool.run()) as everything:  # type: ignore[type-var]
                for news in everything:
                    ledger = self._handed_out(self._entered(ledger, news))
                    done += news.status in ("finished", "failed")
                    unfinished = sum(entry.status in ("left", "started") for entry in ledger.runs)
                    pace = (time.monotonic() - begun) / done if done else None
                    watch(Progress(ledger, news, None if pace is None else unfinished * pace))
        except KeyboardInterrupt as error:
            counts = ledger.counts()
            finished = f"{counts['finished']} of {len(ledger.cells)} cells are finished"
            text = f"stopped; {finished}. Go on with: fedsim resume {self._folder}"
            raise Interrupted(text) from error
        return ledger

    def _handed_out(self, ledger: StudyLedger) -> StudyLedger:
        """Return the ledger as it is on disk, whatever may run now handed to the pool."""
        ledger, due = advanced(ledger)
        new = [line for line in due if line.status in self._again and line.name not in self._given]
        for entry in new:
            digest = self._written(ledger, entry)
            ledger = ledger.changed(entry.name, scenario_sha256=digest)
        ledger.write(self._folder)
        self._given |= {line.name for line in new}
        self._pool.add(
            CellOrder(
                line.name,
                _scenario(self._folder, line.name),
                self._folder / "cells" / line.name,
                self._sets,
            )
            for line in new
        )
        return ledger

    def _written(self, ledger: StudyLedger, entry: StudyEntry) -> str:
        """Write the scenario of a run whose values were looked for; return the text's hash."""
        if not entry.values:
            return entry.scenario_sha256
        key = (entry.levels, entry.seed)
        cell = next(line.name for line in ledger.cells if (line.levels, line.seed) == key)
        search = next(line for line in ledger.searches if line.levels == entry.levels)
        scenario = load(_scenario(self._folder, cell), overrides(entry, search))
        text = dump(scenario.resolved())
        files.write(_scenario(self._folder, entry.name), text)
        return hashlib.sha256(text.encode()).hexdigest()

    def _entered(self, ledger: StudyLedger, news: WorkerAnswer) -> StudyLedger:
        line = ledger.line(news.cell)
        if news.status == "started":
            return ledger.changed(line.name, status="started", attempts=line.attempts + 1, why="")
        changes: dict[str, Any] = {"status": news.status, "why": news.why}
        if line.trial and news.status == "finished":
            run = RunFolder(self._folder / "cells" / line.name)
            rounds, primary = run.rounds(), run.metrics()[0]
            changes["score"] = rounds[-1].clients.get(primary.name) if rounds else None
            ledger = replace(ledger, score_better=primary.better)
        return ledger.changed(line.name, **changes)
