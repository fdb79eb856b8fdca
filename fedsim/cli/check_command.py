"""``fedsim check``: is the scenario right, and what would the run take?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsim.cli.formatting import duration, part_name, size
from fedsim.cli.options import Set
from fedsim.cli.screen import Screen
from fedsim.cli.study_command import check_study
from fedsim.errors import Fault, ScenarioError

if TYPE_CHECKING:
    from fedsim.engine.estimate import Estimate
    from fedsim.schema.scenario import Scenario

__all__ = ["check"]


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False)],
    sets: Set = None,
    estimate: Annotated[
        bool, typer.Option("--plan", help="Estimate what the run takes: work, traffic, time, disk.")
    ] = False,
) -> None:
    """Check scenario files and report all mistakes at once."""
    from fedsim.scenario.load import load, placed
    from fedsim.scenario.study_file import is_study

    screen = Screen.current()
    faults: list[Fault] = []
    plans: list[object] = []
    for file in files:
        try:
            if is_study(file):
                plans += [planned] if (planned := check_study(file, sets or [], estimate)) else []
                continue
            scenario = load(file, sets or [])
            with placed(file, sets or []):
                _check_data(scenario)
        except ScenarioError as error:
            faults += error.faults
            continue
        if not screen.json:
            who = f"{scenario.clients.count or 'natural'} clients"
            strategy = part_name(scenario.strategy.use)
            screen.say(f"{file}: ok ({strategy}, {who}, {scenario.rounds} rounds)")
        if estimate:
            with placed(file, sets or []):
                plans.append(_plan(scenario, screen))
    if faults:
        raise ScenarioError(faults)
    if screen.json:
        screen.dump(plans)
    screen.next(f"fedsim run {files[0]}")


def _check_data(scenario: Scenario) -> None:
    """Look at the headers of the data, if its source can.

    Raises:
        ScenarioError: if they do not fit the scenario.
    """
    from fedsim.data.fit import data_faults

    if faults := data_faults(scenario):
        raise ScenarioError(faults)


def _plan(scenario: Scenario, screen: Screen) -> object:
    from fedsim.engine.estimate import estimate

    planned = estimate(scenario)
    if not screen.json:
        for line in _plan_lines(planned):
            screen.say(line)
    return planned


def _plan_lines(estimate: Estimate) -> list[str]:
    workers = f"{estimate.workers} worker{'s' if estimate.workers != 1 else ''}"
    return [
        f"  turns  {estimate.cohort} of {estimate.clients} clients a round, "
        f"{estimate.turns:,} in all",
        f"  model  {estimate.state}",
        f"  sent   {size(estimate.bytes_down)} down, {size(estimate.bytes_up)} up",
        f"  time   about {duration(estimate.seconds)} on {estimate.backend}, {workers}, "
        f"{1000 * estimate.turn_seconds:.1f} ms a turn; evaluation and references are extra",
        f"  disk   {size(estimate.disk_bytes)} for checkpoints and weights",
    ]
