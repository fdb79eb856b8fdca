"""What is wrong between the task of a scenario and the rest: metrics, and who can learn it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedsim.errors import Fault, ScenarioError
from fedsim.plugins import registry
from fedsim.plugins.signature import Signature
from fedsim.scenario.node import Step, YamlNode
from fedsim.scenario.plugin_parameters import Settled
from fedsim.schema.scenario import Scenario
from fedsim.schema.wording import did_you_mean

__all__ = ["faults", "measured", "unknown_metric"]


def faults(tree: YamlNode, settled: Settled) -> Iterator[Fault]:
    """Yield what is wrong between the task and metrics, targets, and the local update rule.

    Args:
        tree: of the scenario.
        settled: its parts; where the task's could not be read, that fault is enough.
    """
    task, part = settled.signatures.get(("task",)), settled.parts.get(("task",))
    if task is None or part is None:
        return
    yield from _learnable(tree, settled, part)
    yield from _metrics(tree, task, str(part["use"]))


def _learnable(tree: YamlNode, settled: Settled, part: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault where the local update rule has a loss of its own, for another task."""
    rule, strategy = settled.signatures.get(("local",)), settled.signatures.get(("strategy",))
    tasks = rule.constants.get("tasks", ()) if rule else ()
    if rule is None or not tasks:
        return
    place = (tree.child("task") or tree.deepest(("strategy",))).place
    who = f"{rule.name}, the local update rule of strategy {strategy.name if strategy else '?'},"
    if part["use"] not in tasks:
        yield place.fault(("task",), f"{who} is for {' and '.join(tasks)} alone, not {part['use']}")
        return
    changed = [name for name, value in part.items() if name != "use" and value not in (None, 0)]
    if changed:
        yield place.fault(("task", changed[0]), f"{who} knows plain cross-entropy alone")


def _metrics(tree: YamlNode, task: Signature, use: str) -> Iterator[Fault]:
    metrics, targets = tree.at(("evaluation", "metrics")), tree.at(("evaluation", "targets"))
    written = metrics.value if metrics is not None and isinstance(metrics.value, list) else []
    for at, item in enumerate(written):
        path = ("evaluation", "metrics", at)
        if isinstance(item.value, str) and ":" in item.value:
            yield from _own_faults(path, item)
        elif isinstance(item.value, str) and not _is_known(item.value, task):
            yield item.place.fault(path, *unknown_metric(item.value, task, use))
    chosen = [_called(item) for item in written] or list(_names(task, "metrics"))
    entries = targets.value if targets is not None and isinstance(targets.value, dict) else {}
    for name, node in entries.items():
        if name not in chosen and not _is_known(name, task):
            yield node.key.fault(("evaluation", "targets", name), *unknown_metric(name, task, use))
        elif name not in chosen:
            hint = f"evaluation.metrics: [{', '.join([*chosen, name])}]"
            message = "is not measured in this scenario"
            yield node.key.fault(("evaluation", "targets", name), message, hint)


def _own_faults(path: tuple[Step, ...], item: YamlNode) -> Iterator[Fault]:
    """Yield a fault where a metric of the user's own is not there."""
    try:
        signature = registry.describe("metric", str(item.value), item.place.folder)
    except ScenarioError as error:
        yield from (item.place.fault(path, fault.message, fault.hint) for fault in error.faults)
        return
    if not signature.constants.get("name"):
        message = f"{signature.name} has no name: say name: ClassVar[str] = ..."
        yield item.place.fault(path, message)


def _called(item: YamlNode) -> str:
    """Return the name of a metric that a scenario lists; one in a file says its own."""
    name = str(item.value)
    try:
        signature = registry.describe("metric", name, item.place.folder) if ":" in name else None
    except ScenarioError:
        signature = None
    return str(signature.constants.get("name", "")) if signature else name


def unknown_metric(name: str, task: Signature, use: str) -> tuple[str, str]:
    """Return the message and the hint for a metric that the task does not have."""
    known = _names(task, "measurable")
    message = f"task '{registry.short(use)}' has no metric {name!r}"
    return message, did_you_mean(name, known) or f"it has {', '.join(known)}"


def measured(scenario: Scenario, folder: Path) -> tuple[str, ...]:
    """Return the names of what ``scenario`` measures, the primary metric first."""
    signature = registry.describe("task", scenario.task.use, folder)
    names = tuple(scenario.evaluation.metrics) or tuple(_names(signature, "metrics"))
    return tuple(
        str(registry.describe("metric", name, folder).constants.get("name", name))
        if ":" in name
        else name
        for name in names
    )


def _names(task: Signature, constant: str) -> Sequence[str]:
    names = task.constants.get(constant, ())
    return names if isinstance(names, tuple) else ()


def _is_known(name: str, task: Signature) -> bool:
    known = _names(task, "measurable")
    return not known or name in known or name in _names(task, "metrics")
