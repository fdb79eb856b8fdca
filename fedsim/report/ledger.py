"""The ledger of a study: which cells there are, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fedsim.errors import RunFolderError
from fedsim.report import files

__all__ = ["LEDGER", "Entry", "Ledger"]

LEDGER = "study.lock.json"
"""A folder that has it is a study."""


@dataclass(frozen=True)
class Entry:
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


@dataclass(frozen=True)
class Ledger:
    """A study on disk: ``study.lock.json``, replaced by rename at every change."""

    name: str
    description: str
    axes: Mapping[str, tuple[str, ...]]
    """Level names by axis; the first axis is what is compared."""
    report: Mapping[str, Any]
    """What is compared with what, as the study file says it."""
    cells: tuple[Entry, ...]
    format: int = field(default=1)

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """Read the ledger of the study in ``folder``.

        Raises:
            RunFolderError: if there is none, or it is damaged.
        """
        path = folder / LEDGER
        try:
            fields: dict[str, Any] = json.loads(path.read_bytes())
            if fields["format"] != 1:
                raise RunFolderError(f"{path} has format {fields['format']}; this fedsim knows 1")
            cells = tuple(Entry(**entry) for entry in fields["cells"])
            axes = {axis: tuple(levels) for axis, levels in fields["axes"].items()}
            return cls(**fields | {"cells": cells, "axes": axes})
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

    def changed(self, name: str, **changes: Any) -> Ledger:
        """Return the ledger with another line for the cell ``name``."""
        cells = (replace(one, **changes) if one.name == name else one for one in self.cells)
        return replace(self, cells=tuple(cells))

    def counts(self) -> dict[str, int]:
        """Return how many cells are in which state."""
        states = [entry.status for entry in self.cells]
        return {state: states.count(state) for state in ("finished", "failed", "left", "started")}
