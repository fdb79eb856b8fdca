"""Where runs are: the folders that hold one, and those whose names are near."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

__all__ = ["SCENARIO", "link_target", "point_link", "runs_in", "similar_runs", "unlink_latest"]

SCENARIO = "scenario.resolved.yaml"
"""The first file that a run writes: a folder that has it is a run."""


def runs_in(parent: Path) -> list[Path]:
    """Return the runs in ``parent`` and in its sub-folders, oldest first."""
    folders = {
        path.parent
        for pattern in (f"*/{SCENARIO}", f"*/*/{SCENARIO}")
        for path in parent.glob(pattern)
        if not path.parent.is_symlink()
    }
    return sorted(folders, key=lambda path: (path.name, path))


def similar_runs(path: Path) -> str:
    """Return in words which runs have a name like ``path``'s, or how to start one."""
    home = next((parent for parent in path.parents if parent.exists()), Path())
    names = {str(run): run.name for run in runs_in(home)}
    if names:
        close = get_close_matches(path.name, names.values(), n=3, cutoff=0.3)
        shown = [place for place, name in names.items() if name in close] or list(names)[-3:]
        return f"nearest: {', '.join(shown)}"
    return "start one with: fedsim run scenario.yaml"


def point_link(link: Path, target: str) -> None:
    """Let ``link`` point to ``target``; whoever reads it meanwhile sees the old or the new."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)


def unlink_latest(run: Path) -> None:
    """Let ``latest`` beside ``run`` point to the newest other run, if it points to ``run``."""
    link = run.parent / "latest"
    if not link.is_symlink() or link.readlink().name != run.name:
        return
    others = [path for path in runs_in(run.parent.parent) if path.parent == run.parent]
    if others := [path for path in others if path != run]:
        point_link(link, others[-1].name)
    else:
        link.unlink()


def link_target(path: Path) -> Path:
    """Return where a link points; ``path`` itself if it is none."""
    return path.parent / path.readlink() if path.is_symlink() else path
