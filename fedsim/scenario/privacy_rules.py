"""What is wrong between the section ``privacy`` of a scenario and the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fedsim.client import client_class
from fedsim.errors import ScenarioError
from fedsim.plugins import registry
from fedsim.plugins.signature import Signature
from fedsim.schema.part import Part

if TYPE_CHECKING:
    from fedsim.scenario.node import YamlNode

__all__ = ["wrong"]

UNDER = "under"
"""The method of a local update rule that adds noise for its own records."""

Complaint = tuple[str, str]
"""A key and what is wrong with it."""


def wrong(tree: YamlNode) -> Iterator[Complaint]:
    """Yield what is wrong between ``privacy`` and the other sections, by key."""
    section = tree.child("privacy")
    if section is None or not isinstance(section.value, dict):
        signature = _local_rule(tree)
        if signature is not None and UNDER in signature.methods:
            yield (
                "local",
                f"{signature.name} protects records: it needs the section privacy, such as "
                "privacy: {unit: record, clip: 1.0, budget: {epsilon: 8}, delta: 1e-5}",
            )
        return
    privacy: dict[str, Any] = section.plain()
    yield from _alone(privacy)
    yield from _sampler(privacy, tree)
    yield from _open_metrics(privacy, tree)
    yield from _parts(privacy, tree)
    yield from _chance(privacy, tree)
    yield from _target_constants(tree)


def _target_constants(tree: YamlNode) -> Iterator[Complaint]:
    """Refuse what a task would take of the clients' targets without noise."""
    task = tree.plain().get("task")
    part = task if isinstance(task, dict) else {"use": task}
    without = "is taken of the clients' targets without noise"
    scale = part.get("standardise", True)
    if part.get("use") == "regression" and scale is True and part.get("loss") != "poisson":
        yield "task", f"standardise {without}: say public constants, standardise: [mean, deviation]"
    if part.get("class_weights") == "balanced":
        yield "task.class_weights", f"balanced {without}: say the weights themselves"


def _chance(privacy: dict[str, Any], tree: YamlNode) -> Iterator[Complaint]:
    count, delta = _plain(tree, "clients.count"), privacy.get("delta")
    is_known = privacy.get("unit") == "client" and _is_number(count) and _is_number(delta)
    if is_known and count > 0 and delta >= 1 / count:
        yield (
            "privacy.delta",
            f"{delta:g} with {count} clients: must be below 1/{count}, because with a "
            "chance of 1/n all data of one of n clients may be disclosed",
        )


def _alone(privacy: dict[str, Any]) -> Iterator[Complaint]:
    if privacy.get("noise_multiplier") is None and privacy.get("budget") is None:
        yield "privacy", "noise_multiplier or budget: {epsilon} is missing: how much noise?"
    is_adaptive = privacy.get("clipping") == "adaptive"
    for key in ("quantile", "clip_lr"):
        if privacy.get(key) is not None and not is_adaptive:
            yield f"privacy.{key}", "is used by clipping: adaptive only"
    is_local = privacy.get("unit") == "record" or privacy.get("placement") == "local"
    if is_adaptive and is_local:
        yield "privacy.clipping", "adaptive needs a server that adds the noise: placement: central"
    if privacy.get("unit") == "record" and privacy.get("placement") == "central":
        yield (
            "privacy.placement",
            "unit: record adds the noise on each client: leave out placement: central",
        )


def _sampler(privacy: dict[str, Any], tree: YamlNode) -> Iterator[Complaint]:
    use = _plain(tree, "clients.sampler.use", "uniform")
    if privacy.get("unit") == "client" and use not in ("uniform", "poisson"):
        yield (
            "clients.sampler",
            f"{use} cannot be accounted for under client-level privacy: the accountant knows "
            "poisson (amplified, add or remove one) and uniform (replace one)",
        )


def _open_metrics(privacy: dict[str, Any], tree: YamlNode) -> Iterator[Complaint]:
    if privacy.get("metrics") == "simulation":
        return
    consequence = (
        "would leave without noise; privacy.metrics: simulation keeps it for simulation only"
    )
    if _plain(tree, "evaluation.clients"):
        yield "evaluation.clients", f"what clients measure on their own examples {consequence}"
    if _plain(tree, "references"):
        yield "references", f"what is learned from the clients' examples directly {consequence}"


def _parts(privacy: dict[str, Any], tree: YamlNode) -> Iterator[Complaint]:
    """Check the strategy and the local update rule."""
    signature = _local_rule(tree)
    if privacy.get("unit") == "client":
        if reason := _refusal(privacy, tree):
            yield "strategy", reason
        if signature is not None and UNDER in signature.methods:
            yield (
                "local",
                f"{signature.name} protects single records: set privacy.unit: record",
            )
    elif privacy.get("unit") == "record" and signature is not None:
        yield from _records(signature, tree)
        if _plain(tree, "compute.precision") == "bf16":
            yield "compute.precision", "gradients of single records are computed in float32 only"


def _refusal(privacy: dict[str, Any], tree: YamlNode) -> str:
    """Return why the strategy cannot be made private; its class is imported, and torch."""
    from fedsim.privacy.private_strategy import refusal

    strategy = _class_of("strategy", tree.at(("strategy", "use")))
    return refusal(strategy, privacy.get("placement") or "central") if strategy else ""


def _records(signature: Signature, tree: YamlNode) -> Iterator[Complaint]:
    """Check that the rule protects its records in all that the strategy asks for."""
    from fedsim.privacy.parameters import unprotected

    if why := _unbounded(tree):
        yield "strategy", f"it cannot be used under privacy: {why}"
        return
    local_rule, phases = _class_of("client", tree.at(("local", "use"))), _phases(tree)
    private = {
        name: registry.find("client", name)
        for name in registry.names("client")
        if UNDER in registry.describe("client", name).methods
    }
    fitting = [name for name, rule in private.items() if not unprotected(rule, phases)]
    fix = f"; local: {{use: {' or '.join(fitting)}}} does" if fitting else ""
    if UNDER not in signature.methods:
        yield "local", f"{signature.name} adds no noise for its records{fix}"
    elif local_rule is not None and (bare := unprotected(local_rule, phases)):
        yield "local", f"{signature.name} adds no noise in {' or '.join(bare)}{fix}"


def _unbounded(tree: YamlNode) -> str:
    """Return why one example's share in what the strategy asks for has no bound; else nothing."""
    strategy = _signature_of("strategy", tree.at(("strategy", "use")))
    try:
        rule = registry.find("client", strategy.client) if strategy and strategy.client else None
    except ScenarioError:
        return ""
    return client_class(rule).unbounded if rule else ""


def _phases(tree: YamlNode) -> Sequence[str]:
    """Return what the strategy asks of its clients; nothing where another fault reports it."""
    node = tree.child("strategy")
    if node is None or not isinstance(node.value, dict) or "use" not in node.value:
        return ()
    parameters = {
        name: value for name, value in node.plain().items() if name not in ("use", "name")
    }
    try:
        part = Part(use=str(node.value["use"].value), parameters=parameters)
        strategy = registry.build("strategy", part, node.place.folder)
    except (ScenarioError, ValueError):
        return ()
    return strategy.phases() if hasattr(strategy, "phases") else ("train",)


def _local_rule(tree: YamlNode) -> Signature | None:
    """Return the local update rule, from its source; None where another fault reports it."""
    if node := tree.at(("local", "use")):
        return _signature_of("client", node)
    strategy = _signature_of("strategy", tree.at(("strategy", "use")))
    try:
        return registry.describe("client", strategy.client or "sgd") if strategy else None
    except ScenarioError:
        return None


def _class_of(kind: str, node: YamlNode | None) -> type[Any] | None:
    """Return the class that ``node`` names; None where another fault reports it."""
    try:
        return registry.find(kind, str(node.value), node.place.folder) if node else None
    except ScenarioError:
        return None


def _signature_of(kind: str, node: YamlNode | None) -> Signature | None:
    try:
        return registry.describe(kind, str(node.value), node.place.folder) if node else None
    except ScenarioError:
        return None


def _plain(tree: YamlNode, key: str, default: Any = None) -> Any:
    node = tree.at(key.split("."))
    return default if node is None else node.plain()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
