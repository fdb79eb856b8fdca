"""The ledger of a study: which cells there are, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fedsim.errors import RunFolderError
from fedsim.runlog import files

__all__ = ["LEDGER", "SearchRecord", "StudyEntry", "StudyLedger"]

LEDGER = "study.lock.json"
"""A folder that has it is a study."""


@dataclass(frozen=True)
class StudyEntry:
    """A cell's line."""

    name: str
    levels: Mapping[str, str]
    """By axis."""
    seed: int
    scenario_sha256: str
    status: Literal["left", "started", "finished", "failed"] = "left"
    attempts: int = 0
    """How often it was started; a cell that was cut off goes on where it was."""
    why: str = ""
    """Why it failed."""
    trial: int = 0
    """Which trial of a search it belongs to, from 1; 0 for the cells that are compared."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """By key: what a trial tries, and what a cell was given once its search was over."""
    score: float | None = None
    """A trial's primary metric on the clients' validation parts."""


@dataclass(frozen=True)
class SearchRecord:
    """What is tried for one combination of levels."""

    name: str
    levels: Mapping[str, str]
    space: Mapping[str, Mapping[str, Any]]
    """By key: ``log``, ``uniform``, ``int`` or ``choice``, with the ends or the choices."""
    rounds: int
    """Of a trial."""


@dataclass(frozen=True)
class StudyLedger:
    """A study on disk: ``study.lock.json``, replaced by rename at every change."""

    name: str
    description: str
    axes: Mapping[str, tuple[str, ...]]
    """Level names by axis; the first axis is what is compared."""
    report: Mapping[str, Any]
    """What is compared with what, as the study file says it."""
    cells: tuple[StudyEntry, ...]
    searches: tuple[SearchRecord, ...] = ()
    trials: tuple[StudyEntry, ...] = ()
    """The searches' runs: what they try is known when it is their turn."""
    score_better: Literal["higher", "lower"] = "higher"
    """Which scores of trials are the better ones."""
    format: int = field(default=1)

    @classmethod
    def read(cls, folder: Path) -> StudyLedger:
        """Read the ledger of the study in ``folder``.

        Raises:
            RunFolderError: if there is none, or it is damaged.
        """
        path = folder / LEDGER
        try:
            fields: dict[str, Any] = json.loads(path.read_bytes())
            if fields["format"] != 1:
                raise RunFolderError(f"{path} has format {fields['format']}; this fedsim knows 1")
            runs = {
                name: tuple(StudyEntry(**entry) for entry in fields.get(name, ()))
                for name in ("cells", "trials")
            }
            searches = tuple(SearchRecord(**search) for search in fields.get("searches", ()))
            axes = {axis: tuple(levels) for axis, levels in fields["axes"].items()}
            return cls(**fields | runs | {"axes": axes, "searches": searches})
        except FileNotFoundError as error:
            raise RunFolderError(f"{folder} is not a study: it has no {LEDGER}") from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunFolderError(f"{path} is damaged: {error}") from error

    def write(self, folder: Path) -> None:
        """Replace the ledger in ``folder``.

        Raises:
            RunError: if the disk is full; the old one is then untouched.
        """
        files.write(folder / LEDGER, self)

    def changed(self, name: str, **changes: Any) -> StudyLedger:
        """Return the ledger with another line for the cell or trial ``name``."""
        cells, trials = (
            tuple(replace(entry, **changes) if entry.name == name else entry for entry in lines)
            for lines in (self.cells, self.trials)
        )
        return replace(self, cells=cells, trials=trials)

    @property
    def runs(self) -> tuple[StudyEntry, ...]:
        """The trials and the cells."""
        return (*self.trials, *self.cells)

    def line(self, name: str) -> StudyEntry:
        """Return the line of the cell or trial ``name``."""
        return next(entry for entry in self.runs if entry.name == name)

    def counts(self) -> dict[str, int]:
        """Return how many cells are in which state; trials are not among them."""
        states = [entry.status for entry in self.cells]
        return {state: states.count(state) for state in ("finished", "failed", "left", "started")}
