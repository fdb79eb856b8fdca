"""``fedsim show``: one run, its result first."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import click
import typer

from fedsim.cli.formatting import number, part_name, round_line, size, spark
from fedsim.cli.ls_command import RunRow, row
from fedsim.cli.options import Run
from fedsim.cli.progress import result_lines
from fedsim.cli.screen import Screen
from fedsim.cli.study_command import is_study_folder, show_study
from fedsim.data.naming import columns_text, names_text
from fedsim.errors import RunFolderError
from fedsim.runlog.events import RoundRecord
from fedsim.runlog.run_folder import RunFolder

__all__ = ["show"]

_LAST = 5
"""Rounds that are shown in full."""


def show(
    run: Run,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print the scenario with all defaults filled in.")
    ] = False,
) -> None:
    """Show a run's result, rounds, dropped clients and files, or a study's cells."""
    screen = Screen.current()
    if is_study_folder(run):
        if resolved:
            raise click.UsageError(f"--resolved is for runs; a study's: {run / 'scenarios'}")
        return show_study(run)
    folder = RunFolder.open(run)
    if resolved:
        screen.out.out(folder.scenario.read_text(), highlight=False, end="")
        return screen.next(f"fedsim run {folder.scenario}")
    glance = row(folder)
    if glance.status == "damaged":
        folder.rounds()
        folder.result()
        raise RunFolderError(f"{folder.path} is damaged")
    records = folder.rounds()
    if screen.json:
        return screen.dump(
            {
                "run": glance,
                "scenario": folder.read_scenario(),
                "manifest": folder.read_json("manifest.json"),
                "result": folder.result(),
                "rounds": records,
            }
        )
    _text(folder, glance, records, screen)
    return screen.next(_next(glance))


def _text(folder: RunFolder, glance: RunRow, records: list[RoundRecord], screen: Screen) -> None:
    style = {"finished": "green", "interrupted": "yellow", "running": "cyan"}.get(glance.status, "")
    screen.say(
        f"{glance.name}  {glance.status}  {part_name(glance.strategy)}  {glance.started}", style
    )
    screen.say()
    infos = folder.metrics()
    primary = infos[0]
    if (result := folder.result()) is not None:
        for line in result_lines(result, infos):
            screen.say(line)
    elif records:
        bytes_moved = sum(record.bytes_up + record.bytes_down for record in records)
        screen.say(
            f"so far  {primary.title} {number(glance.value)} · "
            f"{glance.done} of {glance.rounds} rounds · {size(bytes_moved)} sent"
        )
    else:
        screen.say("so far  no round is finished")
    taken = [(r.round, r.metrics[primary.name]) for r in records if primary.name in r.metrics]
    if len(taken) > 1:
        (first, low), (last, high) = taken[0], taken[-1]
        curve = spark([value for _, value in taken])
        screen.say(f"curve   {number(low)} {curve} {number(high)}  rounds {first} to {last}")
    for record in records[-_LAST:]:
        screen.say(round_line(record, glance.rounds, infos))
    named: dict[str, list[str]] = folder.read_json("data.json") or {}
    for line in _named(named):
        screen.say(line)
    for line in _dropped(records, named.get("clients", [])):
        screen.say(f"dropped {line}", "yellow")
    files = sorted(path.name for path in folder.path.iterdir() if not path.name.startswith("."))
    screen.say(f"files   {folder.path}")
    screen.say(f"        {'  '.join(files)}")


def _named(named: dict[str, list[str]]) -> list[str]:
    """Return what was learnt from, and what, in lines."""
    lines = [
        f"{name} {(columns_text if name == 'columns' else names_text)(named[name])}"
        for name in ("columns", "classes", "targets")
        if name in named
    ]
    return [*lines, *(f"note    {note}" for note in named.get("notes", ()))]


def _dropped(records: list[RoundRecord], names: list[str]) -> list[str]:
    """Return who was dropped how often and why, the most frequent first."""
    counts = Counter((drop.client, drop.reason) for record in records for drop in record.dropped)
    common = counts.most_common(10)
    lines = [
        f"client {client}{f' ({names[client]})' if names else ''}, {times}x: {reason}"
        for (client, reason), times in common
    ]
    remaining = sum(counts.values()) - sum(times for _, times in common)
    return [*lines, f"and {remaining} more; see rounds.jsonl"] if remaining else lines


def _next(glance: RunRow) -> str:
    if glance.status == "interrupted":
        return f"fedsim resume {glance.run}"
    return f"fedsim show {glance.run} --resolved"
