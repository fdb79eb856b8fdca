"""From a scenario to its task and to what is measured of a model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fedsim.metrics.own import OwnMetric
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
    """Return what is measured: the metrics of ``evaluation``, or the task's own.

    Raises:
        ScenarioError: if a metric in a file cannot be made.
    """
    names = scenario.evaluation.metrics or task.metrics
    return Measures.of(task, [_own(n, scenario) if ":" in n else n for n in names])


def _own(name: str, scenario: Scenario) -> OwnMetric:
    """Return the metric that ``./file.py:Class`` or ``package.module:Class`` names."""
    from fedsim.errors import Fault, ScenarioError
    from fedsim.plugins.registry import find

    metric = find("metric", name, scenario.folder)()
    if not isinstance(metric, OwnMetric) or not re.fullmatch(r"[a-z][a-z0-9_]*", metric.name):
        what = f"{name.rpartition(':')[2]} is no OwnMetric with a name of letters, digits and _"
        raise ScenarioError([Fault(scenario.name, 0, 0, "evaluation.metrics", what)])
    return metric
