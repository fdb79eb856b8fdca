"""The runs in a folder, and where a new one goes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsim.runlog import runs
from fedsim.runlog.run_folder import RunFolder

__all__ = ["new_folder", "runs_under"]


def runs_under(parent: Path) -> list[RunFolder]:
    """Return the runs in ``parent`` and in its sub-folders, oldest first."""
    return [RunFolder(path) for path in runs.runs_in(parent)]


def new_folder(resolved: Mapping[str, Any], parent: Path | None = None) -> RunFolder:
    """Return a new folder for a run of a scenario, under ``parent`` or its ``output.dir``.

    Args:
        resolved: the scenario with nothing left implicit; its hash is in the folder's name.
        parent: the folder of runs.

    Raises:
        RunFolderError: if the disk refuses the folder.
    """
    digest = hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()
    return RunFolder.new(parent or Path(resolved["output"]["dir"]), resolved["name"], digest)
