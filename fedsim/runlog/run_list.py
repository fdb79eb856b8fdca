"""The runs in a folder."""

from __future__ import annotations

from pathlib import Path

from fedsim.runlog import runs
from fedsim.runlog.run_folder import RunFolder

__all__ = ["runs_under"]


def runs_under(parent: Path) -> list[RunFolder]:
    """Return the runs in ``parent`` and in its sub-folders, oldest first."""
    return [RunFolder(path) for path in runs.runs_in(parent)]
