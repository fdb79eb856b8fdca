"""``fedsim check``: is the scenario right, and what would the run take?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsim.cli.options import Set
from fedsim.cli.screen import Screen
from fedsim.errors import Fault, ScenarioError

if TYPE_CHECKING:
    from fedsim.scenario.schema import Scenario

__all__ = ["check"]


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False)],
    sets: Set = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what the run would take: messages, bytes, memory.")
    ] = False,
) -> None:
    """Check scenario files; say all that is wrong at once."""
    from fedsim.scenario.load import load

    screen = Screen.current()
    faults: list[Fault] = []
    plans: list[object] = []
    for file in files:
        try:
            scenario = load(file, sets or [])
        except ScenarioError as error:
            faults += error.faults
            continue
        if not screen.json:
            clients = f"{scenario.clients.count} clients" if scenario.clients.count else "clients"
            screen.say(f"{file}: ok ({scenario.strategy.use}, {clients}, {scenario.rounds} rounds)")
        if plan:
            plans.append(_plan(scenario, screen))
    if faults:
        raise ScenarioError(faults)
    if screen.json:
        screen.dump(plans)
    screen.next(f"fedsim run {files[0]}")


def _plan(scenario: Scenario, screen: Screen) -> object:
    from fedsim.plan import plan

    planned = plan(scenario)
    if not screen.json:
        rows = [[str(cell) for cell in row] for row in planned.rows()]
        screen.table(["", ""], rows, right=frozenset())
    return planned
