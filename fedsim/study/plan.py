"""Estimates the cost of a study from one client's turn for each of its strategies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from fedsim.engine.estimate import Estimate, estimate
from fedsim.scenario.study_schema import Study
from fedsim.schema.scenario import Scenario
from fedsim.study.privacy_costs import privacy_costs

__all__ = ["StudyPlan", "plan_study"]

_DECIDES = ("strategy", "local", "model")
"""What a turn costs is decided by these, and by the data's source."""


@dataclass(frozen=True)
class StudyPlan:
    """What a study would take."""

    runs: int
    trials: int
    """Runs of the searches, before the others."""
    turns: int
    """Clients' turns in all runs and trials together."""
    bytes_down: int
    bytes_up: int
    seconds: float
    """Of the clients' turns, on ``jobs`` processes: evaluation and starting come on top."""
    jobs: int
    disk_bytes: int
    """Checkpoints that are kept, and final weights."""
    promises: tuple[str, ...]
    """What private cells would spend, by whom; empty where none is."""
    probes: int
    """Turns that were taken to find out."""


def plan_study(study: Study, jobs: int = 1) -> StudyPlan:
    """Return what ``study`` would take; each strategy in it takes one turn to find out.

    Raises:
        RunError: if such a turn fails: so would its cells.
        DataError: if the data cannot be dealt.
        ScenarioError: if a promise of privacy cannot be kept.
        MissingPackage: if accounting for one needs a package that is absent.
    """
    probes: dict[str, Estimate] = {}
    turns = disk = 0
    down = up = seconds = 0.0
    for scenario, rounds in _runs(study):
        key = _key(scenario)
        if key not in probes:
            probes[key] = estimate(scenario)
        probe = probes[key]
        clients = scenario.clients.count or probe.clients
        work = rounds * scenario.clients.per_round.of(clients, at_least=1)
        turns += work
        down += probe.bytes_down * work / probe.turns
        up += probe.bytes_up * work / probe.turns
        disk += probe.disk_bytes
        seconds += probe.turn_seconds * work
    runs = len(study.cells)
    jobs = max(1, min(jobs, runs + study.trials))
    return StudyPlan(
        runs=runs,
        trials=study.trials,
        turns=turns,
        bytes_down=round(down),
        bytes_up=round(up),
        seconds=seconds / jobs,
        jobs=jobs,
        disk_bytes=disk,
        promises=tuple(privacy_costs(study, lambda scenario: probes[_key(scenario)].clients)),
        probes=len(probes),
    )


def _runs(study: Study) -> Iterator[tuple[Scenario, int]]:
    """Yield the scenario and the rounds of each cell and each trial."""
    for cell in study.cells:
        yield cell.scenario, cell.scenario.rounds
    tune, searched = study.head.tune, [search.levels for search in study.searches]
    for cell in study.cells if tune else ():
        if tune and cell.levels in searched and cell.seed in study.head.seeds[: tune.seeds]:
            for _ in range(tune.trials):
                yield cell.scenario, tune.rounds or cell.scenario.rounds


def _key(scenario: Scenario) -> str:
    resolved = scenario.resolved()
    decides = {name: resolved[name] for name in _DECIDES} | {"source": resolved["data"]["source"]}
    return json.dumps(decides, sort_keys=True)
