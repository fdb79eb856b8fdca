"""Gives all cells of a study more rounds, for ``fedsim resume STUDY --set rounds=N``."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["prolonged_cells"]


def prolonged_cells(folder: Path, rounds: int) -> list[str]:
    """Let all cells have ``rounds`` rounds; return what a user should know.

    Kernels are pinned as the cells ask, before torch is loaded.

    Raises:
        RunFolderError: if a cell cannot have so many; nothing is changed then.
    """
    from fedsim.scenario.load import pin_kernels

    for scenario in sorted((folder / "scenarios").glob("*.yaml")):
        pin_kernels(scenario)
    from fedsim.study.more_rounds import prolong_study

    return prolong_study(folder, rounds, sys.argv[1:])
