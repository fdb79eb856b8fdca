"""``fedsim ls``: the runs in a folder, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fedsim.cli.formatting import number, part_name
from fedsim.cli.screen import Screen
from fedsim.errors import RunFolderError
from fedsim.runlog.run_folder import RunFolder, Status, runs_under

__all__ = ["RunRow", "ls", "row"]


@dataclass(frozen=True)
class RunRow:
    """A run at a glance."""

    name: str
    status: Status
    strategy: str
    done: int
    """Rounds."""
    rounds: int
    accuracy: float | None
    """The last one that was taken."""
    started: str
    """In UTC."""
    run: Path


def ls(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of runs.", show_default=True)
    ] = Path("runs"),
) -> None:
    """List the runs in a folder, the newest last."""
    screen = Screen.current()
    rows = [row(run) for run in runs_under(folder)]
    if screen.json:
        return screen.dump(rows)
    if not rows:
        screen.note(f"no runs in {folder}")
        return screen.next("fedsim run scenario.yaml")
    screen.table(
        ["run", "status", "strategy", "rounds", "accuracy"],
        [_cells(row) for row in rows],
        right=frozenset({"rounds", "accuracy"}),
    )
    return screen.next(f"fedsim show {rows[-1].run}")


def row(run: RunFolder) -> RunRow:
    """Return ``run`` at a glance; what cannot be read of a damaged one is left empty."""
    scenario = run.read_scenario()
    try:
        records = run.rounds()
    except RunFolderError:
        records = []
    strategy = scenario.get("strategy")
    return RunRow(
        str(scenario.get("name", "")),
        run.status(),
        str(strategy.get("use", "")) if isinstance(strategy, dict) else "",
        len(records),
        _number(scenario.get("rounds")),
        next((r.accuracy for r in reversed(records) if r.accuracy is not None), None),
        _started(run),
        run.path,
    )


def _started(run: RunFolder) -> str:
    """Return when the run was started, to the minute; empty where nothing says it."""
    try:
        started = (run.read_json("manifest.json") or {}).get("started", "")
    except (RunFolderError, AttributeError):
        return ""
    return str(started)[:16].replace("T", " ")


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _cells(row: RunRow) -> list[str]:
    rounds = f"{row.done}/{row.rounds}"
    return [str(row.run), row.status, part_name(row.strategy), rounds, number(row.accuracy)]
