"""What a study would take, judged by one client's turn for each strategy that is in it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from fedsim.plan import Plan, plan
from fedsim.scenario.schema import Scenario
from fedsim.scenario.study import Study

__all__ = ["StudyPlan", "plan_study"]

_DECIDES = ("strategy", "local", "model")
"""What a turn costs is decided by these, and by the data's source."""


@dataclass(frozen=True)
class StudyPlan:
    """What a study would take."""

    runs: int
    turns: int
    """Clients' turns in all runs together."""
    bytes_down: int
    bytes_up: int
    seconds: float
    """Of the clients' turns, on ``jobs`` processes: evaluation and starting come on top."""
    jobs: int
    disk_bytes: int
    """Checkpoints that are kept, and final weights."""
    trials: int
    """Turns that were taken to find out."""


def plan_study(study: Study, jobs: int = 1) -> StudyPlan:
    """Return what ``study`` would take; each strategy in it takes one turn to find out.

    Raises:
        RunError: if such a turn fails: so would its cells.
        DataError: if the data cannot be dealt.
    """
    trials: dict[str, Plan] = {}
    turns = down = up = disk = 0
    seconds = 0.0
    for cell in study.cells:
        key = _key(cell.scenario)
        if key not in trials:
            trials[key] = plan(cell.scenario)
        trial = trials[key]
        clients = cell.scenario.clients.count or trial.clients
        cohort = cell.scenario.clients.per_round.of(clients, at_least=1)
        own = cell.scenario.rounds * cohort
        turns += own
        down += trial.bytes_down * own // trial.turns
        up += trial.bytes_up * own // trial.turns
        disk += trial.disk_bytes
        seconds += trial.turn_seconds * own
    jobs = min(jobs, len(study.cells))
    return StudyPlan(
        len(study.cells), turns, down, up, seconds / max(1, jobs), jobs, disk, len(trials)
    )


def _key(scenario: Scenario) -> str:
    said = scenario.resolved()
    decides = {name: said[name] for name in _DECIDES} | {"source": said["data"]["source"]}
    return json.dumps(decides, sort_keys=True)
