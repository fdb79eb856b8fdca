"""``fedsim ls``: the runs in a folder, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fedsim.cli.formatting import number, part_name
from fedsim.cli.screen import Screen
from fedsim.errors import RunFolderError
from fedsim.runlog.run_folder import RunFolder, Status
from fedsim.runlog.run_list import runs_under

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
    metric: str
    """The primary one's name."""
    value: float | None
    """The last one that was measured."""
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
    metrics = {row.metric for row in rows}
    is_mixed = len(metrics) > 1
    screen.table(
        ["run", "status", "strategy", "rounds", *(("metric", "value") if is_mixed else metrics)],
        [_cells(row, is_mixed) for row in rows],
        right=frozenset({"rounds", "value", *metrics}),
    )
    return screen.next(f"fedsim show {rows[-1].run}")


def row(run: RunFolder) -> RunRow:
    """Return ``run`` at a glance; what cannot be read of a damaged one is left empty."""
    scenario = run.read_scenario()
    try:
        records = run.rounds()
    except RunFolderError:
        records = []
    strategy, primary = scenario.get("strategy"), run.metrics()[0].name
    return RunRow(
        str(scenario.get("name", "")),
        run.status(),
        str(strategy.get("use", "")) if isinstance(strategy, dict) else "",
        len(records),
        _number(scenario.get("rounds")),
        primary,
        next((r.metrics[primary] for r in reversed(records) if primary in r.metrics), None),
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


def _cells(row: RunRow, is_mixed: bool) -> list[str]:
    rounds = f"{row.done}/{row.rounds}"
    strategy = part_name(row.strategy)
    metric = [row.metric] if is_mixed else []
    return [str(row.run), row.status, strategy, rounds, *metric, number(row.value)]
