"""What a study's private cells would spend, one line for each guarantee."""

from __future__ import annotations

from collections.abc import Callable

from fedsim.privacy.privacy_spec import privacy_spec_of
from fedsim.scenario.study_schema import Cell, Study
from fedsim.schema.scenario import Scenario

__all__ = ["privacy_costs"]

FEW = 4
"""Combinations of levels that are named on a line."""


def privacy_costs(study: Study, population: Callable[[Scenario], int]) -> list[str]:
    """Return a line for each epsilon with who would spend it; none where nothing is promised.

    Args:
        study: its cells' first seed is asked: other seeds draw other cohorts.
        population: how many clients a scenario has.

    Raises:
        ScenarioError: if a promise cannot be kept.
        MissingPackage: if accounting for it needs a package that is absent.
    """
    cells_by_promise: dict[str, list[str]] = {}
    for cell in study.cells:
        if cell.seed == study.head.seeds[0] and cell.scenario.privacy is not None:
            cells_by_promise.setdefault(_promise(cell, population), []).append(
                " ".join(cell.levels.values())
            )
    lines = [f"{promise}: {_few(names)}" for promise, names in cells_by_promise.items()]
    if lines and study.trials:
        lines.append("each trial of the search spends as a run does; no statement covers them")
    return lines


def _few(names: list[str]) -> str:
    remaining = len(names) - FEW
    listed = ", ".join(names[:FEW])
    return f"{listed} and {remaining} more" if remaining > 0 else listed


def _promise(cell: Cell, population: Callable[[Scenario], int]) -> str:
    claim = privacy_spec_of(cell.scenario, population(cell.scenario))
    most = claim.most_turns()
    epsilon_spent = claim.epsilon(claim.affordable(most))
    privacy = claim.privacy
    return f"epsilon {epsilon_spent:.3g} for one {privacy.unit} at delta {privacy.delta:g}"
