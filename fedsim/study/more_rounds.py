"""More rounds for all cells of a study: each as if it had had them from the start."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from fedsim.engine.prolong import longer, longer_scenario, prolong
from fedsim.errors import FedsimError, RunFolderError
from fedsim.runlog import files, lock
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.study_ledger import StudyLedger
from fedsim.scenario.load import load
from fedsim.scenario.yaml_file import dump

__all__ = ["prolong_study"]


def prolong_study(folder: Path, rounds: int, command: Sequence[str]) -> list[str]:
    """Let every cell have ``rounds`` rounds; the next resume of the study makes what is left.

    All cells are looked at before any is changed.  Where this was cut off it is done again.

    Args:
        folder: of the study.
        rounds: how many rounds each cell is to have in all.
        command: the command line, without the program, for the cells' manifests.

    Returns:
        What a user should know.

    Raises:
        RunFolderError: if the study was tuned, its cells differ in rounds, or a cell cannot have
            so many; nothing is changed then.
    """
    with lock.hold(folder):
        ledger = StudyLedger.read(folder)
        scenarios = {cell.name: folder / "scenarios" / f"{cell.name}.yaml" for cell in ledger.cells}
        runs = {name: RunFolder(folder / "cells" / name) for name in scenarios}
        before = _rounds_so_far(folder, ledger, rounds)
        if before == rounds:
            return []
        for name, run in runs.items():
            _check(name, run, scenarios[name], rounds)
        for name, run in runs.items():
            if run.scenario.is_file():
                with run.lock():
                    for note in prolong(run, rounds, command, with_study=True):
                        run.log(note)
            text = dump(longer_scenario(scenarios[name], rounds).resolved())
            status = "left" if ledger.line(name).status == "finished" else ledger.line(name).status
            digest = hashlib.sha256(text.encode()).hexdigest()
            ledger = ledger.changed(name, status=status, scenario_sha256=digest)
            ledger.write(folder)  # First: a finished cell would not be gone on with.
            files.write(scenarios[name], text)
        return [f"{len(runs)} cells: {before} rounds become {rounds}"]


def _rounds_so_far(folder: Path, ledger: StudyLedger, rounds: int) -> int:
    """Return how many rounds the cells have that are not prolonged yet.

    Raises:
        RunFolderError: if that is not one number, or they depend on it.
    """
    if ledger.searches:
        raise RunFolderError(
            f"{folder} was tuned, with trials of so many rounds as it had: start a new study"
        )
    paths = [folder / "scenarios" / f"{cell.name}.yaml" for cell in ledger.cells]
    counts = {load(path).rounds for path in paths} - {rounds}
    if len(counts) > 1:
        text = ", ".join(map(str, sorted(counts)))
        raise RunFolderError(f"the cells of {folder} have {text} rounds: they differ by design")
    return counts.pop() if counts else rounds


def _check(name: str, run: RunFolder, scenario: Path, rounds: int) -> None:
    try:
        if not run.scenario.is_file():
            longer_scenario(scenario, rounds)
        elif load(run.scenario).rounds != rounds:
            longer(run, rounds)
    except FedsimError as error:
        raise RunFolderError(f"cell {name}: {error}") from error
