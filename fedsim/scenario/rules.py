"""What is wrong between keys that are each right by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeGuard

from fedsim.errors import Fault, ScenarioError
from fedsim.plugins import registry
from fedsim.scenario import adapt_rules as adapt
from fedsim.scenario import finetune_rules as finetune
from fedsim.scenario import privacy_rules as privacy
from fedsim.scenario.node import SourceLocation, YamlNode
from fedsim.schema.count_or_share import CountOrShare
from fedsim.schema.wording import nearest

__all__ = ["faults"]

COUNT_THEMSELVES = ("natural", "domains")
"""Partitions that make as many clients as the data say."""


def faults(tree: YamlNode) -> list[Fault]:
    """Return the faults between keys; what is wrong by itself is left to the schema."""
    between_keys = [*_clients(tree), *_holdout(tree), *_evaluation(tree), *_compute(tree)]
    return [*between_keys, *_best(tree), *_stop(tree), *_tracking(tree), *_privacy(tree)]


def _clients(tree: YamlNode) -> Iterator[Fault]:
    count, cohort = _value(tree, "clients.count"), _value(tree, "clients.per_round", "all")
    if _is_count(count) and _is_count(cohort) and cohort > count:
        message = f"{cohort} clients per round, but there are only {count} (clients.count)"
        yield _fault(tree, "clients.per_round", message)
    cohort_size = cohort if _is_count(cohort) else count if cohort == "all" else None
    replies = _value(tree, "clients.min_replies")
    if _is_count(cohort_size) and _is_count(replies) and replies > cohort_size:
        message = f"{replies} replies, but only {cohort_size} clients are asked in a round"
        yield _fault(tree, "clients.min_replies", message)
    use = _value(tree, "data.partition.use", "iid")
    is_open = isinstance(use, str) and (use in COUNT_THEMSELVES or ":" in use)
    if count is None and not is_open and not _is_misspelt(tree.child("clients")):
        who = " and ".join(COUNT_THEMSELVES)
        message = f"is missing: only {who} partitions fix the number of clients"
        yield _fault(tree, "clients.count", message)


def _is_misspelt(clients: YamlNode | None) -> bool:
    """Return whether the schema has a fault already that explains why the count is missing."""
    if clients is None or not isinstance(clients.value, dict):
        return clients is not None
    return any(nearest(name, ["count"]) for name in clients.value if name != "count")


def _holdout(tree: YamlNode) -> Iterator[Fault]:
    if _share(tree, "client_val") + _share(tree, "client_test") >= 1:
        message = "client_val and client_test leave the clients nothing to train on"
        yield _fault(tree, "data.holdout", message)


def _evaluation(tree: YamlNode) -> Iterator[Fault]:
    part = "val" if _value(tree, "evaluation.part") == "val" else "test"
    if _is_count(_value(tree, "evaluation.clients")) and _share(tree, f"client_{part}") == 0:
        message = f"the clients have no {part} parts: data.holdout.client_{part} is 0%"
        yield _fault(tree, "evaluation.clients", message)


def _best(tree: YamlNode) -> Iterator[Fault]:
    """Yield why the best round cannot be chosen: by validation parts, or not at all."""
    if _value(tree, "evaluation.keep_best") is not True:
        return
    key = "evaluation.keep_best"
    if _value(tree, "privacy") is not None:
        why = "chooses by clients' examples without noise: under privacy the last round is kept"
        yield _fault(tree, key, why)
    if _value(tree, "adapt.select", "last") != "last":
        yield _fault(tree, key, "adapt.select chooses the round of the result already")
    needs = {
        "evaluation.part: val": _value(tree, "evaluation.part") == "val",
        "evaluation.clients: 1 (rounds between two evaluations)": _is_count(
            _value(tree, "evaluation.clients")
        ),
        "data.holdout.client_val: 10%": _share(tree, "client_val") > 0,
    }
    if missing := [need for need, is_there in needs.items() if not is_there]:
        why = "the best round is chosen on the clients' validation parts, never on the test set"
        yield replace(_fault(tree, key, why), hint=f"set {', '.join(missing)}")


def _stop(tree: YamlNode) -> Iterator[Fault]:
    """Yield why a turn cannot end early: there is nothing to judge by, or state that would stay."""
    if _value(tree, "local.stop") is None:
        return
    if _share(tree, "client_val") == 0:
        message = "the clients have no validation parts: data.holdout.client_val is 0%"
        yield _fault(tree, "local.stop", message)
    if _value(tree, "local.state") == "keep":
        why = "what the optimizer remembers is of the last epoch, and the weights are of the best"
        yield _fault(tree, "local.state", f"goes not with local.stop: {why}")


def _compute(tree: YamlNode) -> Iterator[Fault]:
    if _value(tree, "compute.backend") == "local" and _value(tree, "compute.address") is not None:
        yield _fault(tree, "compute.address", "is not used by the backend local")
    is_ray = _value(tree, "compute.backend") == "ray" or _value(tree, "compute.address") is not None
    if is_ray and _value(tree, "model.use") == "live_module":
        message = "a module of this process is not known to Ray: put its class into a file"
        yield _fault(tree, "model", message)


def _tracking(tree: YamlNode) -> Iterator[Fault]:
    trackers = tree.child("tracking")
    items = trackers.value if trackers and isinstance(trackers.value, list) else []
    for position, item in enumerate(items):
        if not isinstance(item.value, str):
            continue  # the schema says so
        try:
            registry.describe("tracker", item.value, item.place.folder)
        except ScenarioError as error:
            for fault in error.faults:
                yield item.place.fault(("tracking", position), fault.message, fault.hint)


def _privacy(tree: YamlNode) -> Iterator[Fault]:
    for key, message in [*privacy.wrong(tree), *adapt.wrong(tree), *finetune.wrong(tree)]:
        yield _fault(tree, key, message)


def _value(tree: YamlNode, key: str, default: Any = None) -> Any:
    node = tree.at(key.split("."))
    return default if node is None else node.plain()


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value > 0


def _share(tree: YamlNode, name: str) -> Fraction:
    try:
        return CountOrShare(_value(tree, f"data.holdout.{name}", "0%")).share
    except (TypeError, ValueError):  # the schema says so
        return Fraction(0)


def _fault(tree: YamlNode, key: str, message: str) -> Fault:
    path = key.split(".")
    node = tree.at(path)
    place = node.place if node else _nearest(tree, path)
    return place.fault(path, message)


def _nearest(tree: YamlNode, path: list[str]) -> SourceLocation:
    above = tree.deepest(path)
    return above.key if above is not tree else SourceLocation(tree.place.file)
