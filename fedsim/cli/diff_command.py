"""``fedsim diff``: two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedsim.analysis.run_diff import differences
from fedsim.cli.screen import Screen
from fedsim.runlog.run_folder import RunFolder

__all__ = ["diff"]


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run's folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another's.")],
) -> None:
    """Show in what two runs differ: configuration, environment, metrics."""
    screen = Screen.current()
    first_run, second_run = RunFolder.open(first), RunFolder.open(second)
    found_differences = differences(first_run, second_run)
    if screen.json:
        return screen.dump(found_differences)
    for about in ("configuration", "environment", "metrics"):
        rows = [
            [item.key, _shown(item.first), _shown(item.second)]
            for item in found_differences
            if item.about == about
        ]
        if rows:
            screen.table([about, "A", "B"], rows, right=frozenset())
        else:
            screen.say(f"{about}: the same")
        screen.say()
    return screen.next(f"fedsim report {first} {second} -o report.html")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 48 else f"{text[:47]}…"
