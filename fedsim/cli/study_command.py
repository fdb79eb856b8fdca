"""Studies on the command line: what ``check``, ``run``, ``resume`` and ``show`` do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedsim.cli.formatting import duration, number, size
from fedsim.cli.ls_command import row
from fedsim.cli.prolonging import prolonged_cells
from fedsim.cli.screen import Screen
from fedsim.errors import ScenarioError, StudyIncomplete
from fedsim.runlog import lock
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.study_ledger import LEDGER, StudyEntry, StudyLedger

if TYPE_CHECKING:
    from fedsim.scenario.study_schema import Study
    from fedsim.schema.scenario import Scenario
    from fedsim.study.execution import Progress

__all__ = ["check_study", "is_study_folder", "resume_study", "run_study", "show_study"]


def is_study_folder(path: Path) -> bool:
    """Return whether ``path`` is the folder of a study."""
    return (path / LEDGER).is_file()


def check_study(file: Path, sets: list[str], plan: bool) -> object:
    """Say that the study in ``file`` is right, and what it would take; return the plan.

    Raises:
        ScenarioError: if anything is wrong with it or with any of its cells.
    """
    from fedsim.scenario.study_file import load_study

    screen = Screen.current()
    study = load_study(file, sets)
    _check_data(study, file)
    if not screen.json:
        screen.say(f"{file}: ok ({study.shape()})")
        if note := study.note():
            screen.note(f"note: {note}", "yellow")
    if not plan:
        return None
    from fedsim.study.plan import plan_study

    planned = plan_study(study)
    if not screen.json:
        before = f" after {planned.trials} trials" if planned.trials else ""
        screen.say(f"  runs   {planned.runs}{before}, {planned.turns:,} turns of clients in all")
        screen.say(f"  sent   {size(planned.bytes_down)} down, {size(planned.bytes_up)} up")
        screen.say(
            f"  time   about {duration(planned.seconds)} of clients' turns one cell at a time, "
            f"estimated from {planned.probes} measured turns; evaluation and references are extra"
        )
        screen.say(f"  disk   {size(planned.disk_bytes)} for checkpoints and weights")
        for promise in planned.promises:
            screen.say(f"  spent  {promise}")
    return planned


def _check_data(study: Study, file: Path) -> None:
    """Look at the headers of the data of each cell, once where cells have the same.

    Raises:
        ScenarioError: if they do not fit a cell.
    """
    from fedsim.data.fit import data_faults

    distinct: dict[tuple[str, ...], Scenario] = {}
    for cell in study.cells:
        scenario = cell.scenario
        # The task is a section of scenarios that know tasks.
        parts = [getattr(scenario, name, None) for name in ("data", "model", "clients", "task")]
        key = tuple(part.model_dump_json() for part in parts if part is not None)
        distinct.setdefault(key, scenario)
    faults = {fault for scenario in distinct.values() for fault in data_faults(scenario)}
    if faults:
        raise ScenarioError([replace(fault, file=str(file)) for fault in faults])


def run_study(
    file: Path, sets: list[str], folder: Path | None, out: Path | None, jobs: int
) -> None:
    """Run the study in ``file`` from its first cell.

    Args:
        file: the study.
        sets: overrides of the base scenario.
        folder: the study's folder, exactly there; by default one that is called like the study.
        out: where that one is made, instead of ``output.dir``.
        jobs: how many cells run side by side.

    Raises:
        FedsimError: of any kind; what is finished is kept.
    """
    from fedsim.scenario.study_file import load_study

    screen = Screen.current()
    study = load_study(file, sets)
    folder = folder or (out or Path(study.head.output.dir)) / study.head.name
    if not (screen.json or screen.quiet):
        screen.say(f"check   {file} ok ({study.shape()})")
    if note := study.note():
        screen.note(f"note    {note}", "yellow")
    from fedsim.study.execution import begin

    begin(study, folder)
    resume_study(folder, jobs, retry_failed=False)


def resume_study(folder: Path, jobs: int, retry_failed: bool, rounds: int | None = None) -> None:
    """Run every cell of the study in ``folder`` that is not finished.

    Args:
        folder: the study's.
        jobs: how many cells run side by side.
        retry_failed: whether failed cells are run once more.
        rounds: how many rounds each cell is to have in all; None: as many as it has.

    Raises:
        FedsimError: of any kind; what is finished is kept.
    """
    screen = Screen.current()
    if rounds is not None:
        for note in prolonged_cells(folder, rounds):
            screen.note(f"note    {note}", "yellow")
    from fedsim.study.execution import go_on

    report = f"fedsim report {folder} -o report.html"
    try:
        ledger = go_on(folder, jobs, lambda progress: _tell(progress, screen), retry_failed)
    except StudyIncomplete as error:
        error.add_note(f"next: {report}")  # a page of what is there, and of what is not
        raise
    if screen.json:
        screen.dump(ledger.counts())
    else:
        screen.say(f"saved   {folder}  ({ledger.counts()['finished']} cells)")
    screen.next(report)


def show_study(folder: Path) -> None:
    """Show every cell of the study in ``folder``, and why those that failed did.

    Raises:
        RunFolderError: if the ledger is damaged.
    """
    screen, ledger = Screen.current(), StudyLedger.read(folder)
    is_running = lock.is_held(folder)
    cells = [_cell(folder, entry, is_running) for entry in ledger.cells]
    if screen.json:
        searches = {"searches": ledger.searches, "trials": ledger.trials}
        return screen.dump({"study": ledger.name, "cells": cells, **searches})
    counts = Counter(cell.status for cell in cells)
    screen.say(f"{ledger.name}  {' · '.join(f'{many} {state}' for state, many in counts.items())}")
    screen.say()
    screen.table(
        ["cell", "status", "rounds", cells[0].metric],
        [[cell.name, cell.status, cell.progress(), number(cell.value)] for cell in cells],
        right=frozenset({"rounds", cells[0].metric}),
    )
    for line in _searched(ledger):
        screen.say(line)
    for cell in cells:
        if cell.status == "failed":
            screen.say(f"failed  {cell.name}: {cell.why[:160]}", "red")
    if counts["interrupted"] + counts["waiting"] and not is_running:
        return screen.next(f"fedsim resume {folder}")
    return screen.next(f"fedsim report {folder} -o report.html")


@dataclass(frozen=True)
class _CellRow:
    """A cell at a glance."""

    name: str
    status: str
    done: int
    """Rounds."""
    rounds: int
    metric: str
    """The primary one's name."""
    value: float | None
    """The last one that was measured."""
    why: str
    """Why it failed."""

    def progress(self) -> str:
        return f"{self.done}/{self.rounds}" if self.rounds else "-"


def _cell(folder: Path, entry: StudyEntry, is_running: bool) -> _CellRow:
    run = row(RunFolder(folder / "cells" / entry.name))
    states = {"left": "waiting", "started": "running" if is_running else "interrupted"}
    if entry.status == "left" and run.rounds:
        states["left"] = "interrupted"
    status = states.get(entry.status, entry.status)
    return _CellRow(entry.name, status, run.done, run.rounds, run.metric, run.value, entry.why)


def _searched(ledger: StudyLedger) -> list[str]:
    """Return what came of each search so far, a line for each."""
    lines = []
    for search in ledger.searches:
        trials = [trial for trial in ledger.trials if trial.levels == search.levels]
        over = sum(trial.status in ("finished", "failed") for trial in trials)
        best_values = next((c.values for c in ledger.cells if c.levels == search.levels), {})
        chosen = f": {_values(best_values)}" if best_values else ""
        lines.append(f"tuned   {search.name}  {over} of {len(trials)} trials{chosen}")
    return lines


def _values(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _tell(progress: Progress, screen: Screen) -> None:
    news, ledger = progress.news, progress.ledger
    if news.status == "started" or screen.quiet or screen.json:
        return
    entry = ledger.line(news.cell)
    kind, lines = ("trial", ledger.trials) if entry.trial else ("cell ", ledger.cells)
    done = sum(entry_line.status in ("finished", "failed") for entry_line in lines)
    # What a trial reached on the server's test set is nobody's business.
    reached = f"{news.metric} {number(news.value)}"
    trial_result = f"score {number(entry.score)}  {_values(entry.values)}"
    outcome = {
        "finished": f"finished  {trial_result if entry.trial else reached}",
        "failed": f"failed    {news.why[:160]}",
        "left": "stopped",
    }[news.status]
    remaining = progress.seconds_left
    eta = f"  {duration(remaining)} left" if remaining else ""
    screen.say(
        f"{kind}   {done}/{len(lines)}  {news.cell}  {outcome}{eta}",
        "red" if news.status == "failed" else "",
    )
