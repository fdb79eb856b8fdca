"""``fedsim ls``: the runs in a folder, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fedsim.cli.screen import Screen
from fedsim.cli.words import number
from fedsim.errors import RunFolderError
from fedsim.report.folder import RunFolder, Status, runs_under

__all__ = ["Row", "ls", "row"]


@dataclass(frozen=True)
class Row:
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
        ["name", "status", "strategy", "rounds", "accuracy", "started", "run"],
        [_cells(row) for row in rows],
        right=frozenset({"rounds", "accuracy"}),
    )
    return screen.next(f"fedsim show {rows[-1].run}")


def row(run: RunFolder) -> Row:
    """Return ``run`` at a glance; what cannot be read of a damaged one is left empty."""
    scenario = run.read_scenario()
    try:
        records = run.rounds()
    except RunFolderError:
        records = []
    strategy: Any = scenario.get("strategy") or {}
    return Row(
        str(scenario.get("name", "")),
        run.status(),
        str(strategy.get("use", "")),
        len(records),
        int(scenario.get("rounds", 0)),
        next((r.accuracy for r in reversed(records) if r.accuracy is not None), None),
        _started(run.path.name),
        run.path,
    )


def _started(name: str) -> str:
    """Return the date and time that the folder's name holds; empty where it has another name."""
    day, _, rest = name.partition("_")
    clock = rest[:6]
    is_stamp = day.replace("-", "").isdigit() and len(day) == 10 and clock.isdigit()
    return f"{day} {clock[:2]}:{clock[2:4]}" if is_stamp and len(clock) == 6 else ""


def _cells(row: Row) -> list[str]:
    rounds = f"{row.done}/{row.rounds}"
    accuracy = number(row.accuracy)
    return [row.name, row.status, row.strategy, rounds, accuracy, row.started, str(row.run)]
