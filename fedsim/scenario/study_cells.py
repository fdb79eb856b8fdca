"""A study's cells, one scenario for each combination of levels and seed, and its searches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from fedsim.errors import Fault, ScenarioError
from fedsim.scenario import task_rules
from fedsim.scenario.inherit import overlaid
from fedsim.scenario.load import complete
from fedsim.scenario.node import YamlNode
from fedsim.scenario.renamed_keys import current_key
from fedsim.scenario.study_schema import (
    ON_DOMAIN,
    Cell,
    ParameterSearch,
    StudyHeader,
    compared_names,
)
from fedsim.scenario.tune import ends
from fedsim.schema.scenario import Scenario
from fedsim.schema.wording import did_you_mean

__all__ = ["AxisLevel", "Base", "cells_of"]

MOST_CELLS = 10_000

Changes = Sequence[tuple[str, YamlNode]]
"""Dotted keys with what is written there."""


@dataclass(frozen=True)
class AxisLevel:
    """One level of an axis: what it is called and what it changes."""

    name: str
    changes: Changes


@dataclass(frozen=True)
class Base:
    """The scenario that every cell starts from."""

    tree: YamlNode
    path: Path
    faults: Sequence[Fault]

    def changed(self, changes: Changes) -> Scenario:
        """Return the scenario with the changes made.

        Raises:
            ScenarioError: if it is wrong then, or was before.
        """
        tree, faults = self.tree, list(self.faults)
        for key, value in changes:
            tree, wrong = overlaid(tree, key, value)
            faults += [replace(fault, key=fault.key or key) for fault in wrong]
        return complete(tree, self.path, faults)


def cells_of(
    tree: YamlNode, head: StudyHeader, axes: Mapping[str, Sequence[AxisLevel]], base: Base
) -> tuple[tuple[Cell, ...], tuple[ParameterSearch, ...]]:
    """Return the cells and the searches; a combination is checked once for all seeds.

    Raises:
        ScenarioError: if any of them is wrong; holds every fault once.
    """
    _check_size(tree, head, axes)
    faults: dict[Fault, None] = {}
    cells: list[Cell] = []
    searches: list[ParameterSearch] = []
    names: Counter[str] = Counter()
    for levels in product(*axes.values()):
        chosen = {axis: level.name for axis, level in zip(axes, levels, strict=True)}
        if any(combination.items() <= chosen.items() for combination in head.exclude):
            continue
        changes = [change for level in levels for change in level.changes]
        try:
            scenario = base.changed(changes)
            space = _space(tree, scenario, changes)
            for more in _trials(tree, space):
                base.changed([*changes, *more])
        except ScenarioError as error:
            faults |= dict.fromkeys(error.faults)
            continue
        faults |= dict.fromkeys([*_primary(tree, head, scenario), *_scored(tree, scenario)])
        slug = _slug(chosen.values())
        names[slug] += 1
        slug = f"{slug}-{names[slug]}" if names[slug] > 1 else slug
        searches += [ParameterSearch(slug, chosen, space)] if space else []
        for seed in head.seeds:
            name = f"{slug}-s{seed}"
            cell_scenario = scenario.model_copy(update={"seed": seed, "name": name})
            cells.append(Cell(name, chosen, seed, cell_scenario))
    faults |= dict.fromkeys(_unused(tree, searches)) if not faults else {}
    if faults:
        raise ScenarioError(list(faults))
    return tuple(cells), tuple(searches)


def _check_size(tree: YamlNode, head: StudyHeader, axes: Mapping[str, Sequence[AxisLevel]]) -> None:
    many = len(head.seeds) + (head.tune.trials * head.tune.seeds if head.tune else 0)
    for levels in axes.values():
        many *= len(levels)
    if many > MOST_CELLS:
        message = f"{many:,} runs are more than {MOST_CELLS:,}"
        raise ScenarioError([tree.deepest(("axes",)).key.fault("axes", message)])


def _space(tree: YamlNode, scenario: Scenario, changes: Changes) -> dict[str, Any]:
    """Return what can be tuned: what the scenario has and no level says itself."""
    space = tree.at(("tune", "space"))
    if space is None:
        return {}
    keys = set(_dotted_keys(scenario.resolved()))
    fixed = {current_key(key, keys) for name, node in changes for key in _written(name, node)}
    # Keys stay as the study has them: its ledger, and so its resumption, goes by them.
    return {
        key: node.plain() for key, node in _items(space) if current_key(key, keys) in keys - fixed
    }


def _written(key: str, node: YamlNode) -> Iterator[str]:
    yield key
    for name, inner in _items(node):
        yield from _written(f"{key}.{name}", inner)


def _dotted_keys(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from _dotted_keys(value, f"{above}{name}.")


def _trials(tree: YamlNode, space: Mapping[str, Any]) -> Iterator[Changes]:
    """Yield changes that go to each end of each span once, every value where it was written."""
    most = max((len(ends(span)) for span in space.values()), default=0)
    for index in range(most):
        changes = []
        for key, span in space.items():
            (kind,) = span
            at = min(index, len(ends(span)) - 1)
            changes.append((key, tree.deepest(("tune", "space", key, kind, at))))
        yield changes


def _scored(tree: YamlNode, scenario: Scenario) -> Iterator[Fault]:
    node = tree.child("tune")
    if node is None:
        return
    if scenario.data.holdout.client_val.share == 0:
        message = "trials are scored on validation parts, and data.holdout.client_val is 0%"
        yield node.key.fault("tune", message, "set: {data.holdout.client_val: 20%}")
    if scenario.privacy is not None and scenario.privacy.metrics != "simulation":
        message = "the trials' scores would leave the clients without noise"
        yield node.key.fault("tune", message, "set: {privacy.metrics: simulation}")


def _unused(tree: YamlNode, searches: Sequence[ParameterSearch]) -> Iterator[Fault]:
    for key, node in _items(tree.at(("tune", "space"))):
        if not any(key in search.space for search in searches):
            message = "no cell has this key, or every level sets it"
            yield node.key.fault(("tune", "space", key), message)


def _items(node: YamlNode | None) -> list[tuple[str, YamlNode]]:
    return list(node.value.items()) if node is not None and isinstance(node.value, dict) else []


def _primary(tree: YamlNode, head: StudyHeader, scenario: Scenario) -> Iterator[Fault]:
    if head.report.primary is None:
        return
    metric, _, when = head.report.primary.partition("@")
    place = tree.deepest(("report", "primary")).place
    if metric.startswith("client_") and scenario.evaluation.clients == 0:
        message = "the clients are never evaluated: evaluation.clients is 0"
        yield place.fault("report.primary", message)
    domains, name = _domains(scenario), metric.removeprefix(ON_DOMAIN)
    if metric.startswith(ON_DOMAIN) and domains and name not in domains:
        message = f"there is no domain {name!r} here"
        yield place.fault("report.primary", message, f"domains: {', '.join(sorted(domains))}")
    names = task_rules.measured(scenario, scenario.folder)
    if not metric.startswith(ON_DOMAIN) and metric not in compared_names(names):
        message = f"the runs do not measure {metric!r}"
        hint = did_you_mean(metric, compared_names(names)) or f"they measure {', '.join(names)}"
        yield place.fault("report.primary", message, hint)
    if when != "final" and int(when) > scenario.rounds:
        yield place.fault("report.primary", f"the scenario has {scenario.rounds} rounds only")


def _domains(scenario: Scenario) -> set[str]:
    """Return the names of domains that the scenario says itself."""
    lists = [
        scenario.data.source.parameters.get("domains"),
        scenario.data.partition.parameters.get("targets"),
    ]
    return {str(name) for names in lists if isinstance(names, list | tuple) for name in names}


def _slug(names: Any) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(names)).strip(".-")[:80] or "cell"
