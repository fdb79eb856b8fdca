"""From a scenario to its task and to what is measured of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsim.task import TargetSpec, Task
from fedsim.tasks._measures import Measures

if TYPE_CHECKING:
    from fedsim.schema.scenario import Scenario

__all__ = ["measures_of", "task_of"]


def task_of(scenario: Scenario, targets: TargetSpec) -> Task:
    """Return the task of ``scenario`` for ``targets``.

    Raises:
        ScenarioError: if it cannot be made, or the targets are not for it.
    """
    from fedsim.errors import Fault, ScenarioError
    from fedsim.plugins.registry import build

    task: Task = build("task", scenario.task, scenario.folder, targets=targets)
    if why := task.refusal():
        raise ScenarioError([Fault(scenario.name, 0, 0, "task", why)])
    return task


def measures_of(scenario: Scenario, task: Task) -> Measures:
    """Return what is measured: the metrics of ``evaluation``, or the task's own."""
    return Measures.of(task, scenario.evaluation.metrics or task.metrics)
