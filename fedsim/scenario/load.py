"""From a scenario file to a :class:`Scenario`, or to everything that is wrong with it at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedsim.errors import Fault, ScenarioError
from fedsim.kernels import pin
from fedsim.scenario import augment_rules, rules, task_rules
from fedsim.scenario.inherit import assemble
from fedsim.scenario.keys import known_at, type_of
from fedsim.scenario.node import SourceLocation, Step, YamlNode
from fedsim.scenario.plugin_parameters import Settled, settle
from fedsim.schema.scenario import PARTS, Scenario
from fedsim.schema.wording import at, expected, misfit, nearest, walked

__all__ = ["complete", "load", "placed"]


def load(path: Path | str, overrides: Sequence[str] = ()) -> Scenario:
    """Return the scenario in the file, complete: nothing implicit is left in it.

    Args:
        path: the file.
        overrides: ``--set`` values, ``strategy.mu=0.1``, over what the file says.

    Raises:
        ScenarioError: if anything is wrong; holds every fault, each with its place.
    """
    path = Path(path)
    tree, faults = assemble(path, overrides)
    return complete(tree, path, faults)


@contextmanager
def placed(path: Path | str, overrides: Sequence[str] = ()) -> Iterator[None]:
    """Give faults that only data or model could tell their place in the file too."""
    try:
        yield
    except ScenarioError as error:
        tree, _ = assemble(Path(path), overrides)
        raise ScenarioError([_placed(fault, tree) for fault in error.faults]) from error


def _placed(fault: Fault, tree: YamlNode) -> Fault:
    if fault.line or not fault.key:
        return fault
    steps = [int(step) if step.isdecimal() else step for step in re.findall(r"[^.[\]]+", fault.key)]
    place = tree.deepest(steps).place
    return place.fault(fault.key, fault.message, fault.hint)


def complete(tree: YamlNode, path: Path, faults: Sequence[Fault] = ()) -> Scenario:
    """Return the scenario that ``tree`` says.

    Args:
        tree: as :func:`fedsim.scenario.inherit.assemble` gives it.
        path: its file: names the run, and relative paths start beside it.
        faults: what is known to be wrong with it.

    Raises:
        ScenarioError: if anything is wrong; holds every fault, each with its place.
    """
    _pin(tree)  # before rules between keys, some of which load torch
    kind = tree.child("kind")
    if kind is not None and kind.value == "study":
        message = "this is a study, and one scenario is expected"
        raise ScenarioError([kind.place.fault("kind", message)])
    settled = settle(tree)
    values = _complete(tree, path, settled)
    schema_faults, scenario = _validated(values, tree, path.parent.absolute(), settled)
    between_keys = [
        *rules.faults(tree),
        *task_rules.faults(tree, settled),
        *augment_rules.faults(tree, settled),
    ]
    every = [*faults, *settled.faults, *schema_faults, *between_keys]
    if every or scenario is None:
        raise ScenarioError(list(_first_per_place(every)))
    return scenario


def pin_kernels(path: Path) -> None:
    """Pin the kernels that a scenario's file asks for; see :mod:`fedsim.kernels`.

    Raises:
        ScenarioError: if the file cannot be read.
        RunError: if no pin makes results repeat on this processor.
    """
    tree, _ = assemble(path, ())
    _pin(tree)


def _pin(tree: YamlNode) -> None:
    node = tree.at(("compute", "repeatable"))
    if node is not None and node.value == "anywhere":
        pin("anywhere")


def _complete(tree: YamlNode, path: Path, settled: Settled) -> dict[str, Any]:
    """Return the tree's plain values, with the parts settled and the run named."""
    values: dict[str, Any] = {"name": _plain_name(path.stem), **tree.plain()}
    for (*sections, last), part in settled.parts.items():
        section = values
        for name in sections:
            section = section.setdefault(name, {})
        if isinstance(section, dict):
            section[last] = part
    return values


def _validated(
    values: dict[str, Any], tree: YamlNode, folder: Path, settled: Settled
) -> tuple[list[Fault], Scenario | None]:
    try:
        return [], Scenario.model_validate(values, context={"folder": folder})
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
    unknown: list[Fault] = []
    others: dict[tuple[Step, ...], Fault] = {}
    meant: set[tuple[Step, ...]] = set()
    for detail in details:
        loc, steps = detail["loc"], walked(values, detail["loc"])
        if any(steps[: len(part)] == part for part in PARTS):
            continue  # settle() reports it
        if detail["type"] == "extra_forbidden" or loc[-1] == "[key]":
            fault, suggestion = _unknown_key(steps, tree, settled)
            unknown.append(fault)
            meant.add((*steps[:-1], suggestion))
        elif detail["type"] == "missing":
            path = (*steps, str(loc[-1]))
            others[path] = _missing(path, tree)
        else:
            others[steps] = _misfit(steps, values, tree)
    # Of a value that fits no branch of a union, what is wrong inside it says more.
    above = {path[:length] for path in others for length in range(len(path))}
    return unknown + [
        fault for path, fault in others.items() if path not in meant and path not in above
    ], None


def _unknown_key(path: tuple[Step, ...], tree: YamlNode, settled: Settled) -> tuple[Fault, str]:
    *above, name = path
    section = tuple(str(step) for step in above)
    valid_keys = known_at(section)
    suggestion = "" if settled.places_of(str(name)) else nearest(str(name), valid_keys)
    hint = settled.hint(str(name), valid_keys)
    return tree.deepest(path).key.fault(path, "unknown key", hint), suggestion


def _missing(path: tuple[Step, ...], tree: YamlNode) -> Fault:
    above = tree.at(path[:-1]) or tree
    place = above.key if path[1:] else SourceLocation(tree.place.file)
    return place.fault(path, f"is missing: {expected(type_of(path))}")


def _misfit(path: tuple[Step, ...], values: Any, tree: YamlNode) -> Fault:
    value = at(values, path)
    hint = f"write {value:.0%} for a share" if _is_bare_share(path, value) else ""
    return tree.deepest(path).place.fault(path, misfit(type_of(path), value), hint)


def _is_bare_share(path: tuple[Step, ...], value: Any) -> bool:
    wants_share = "%" in expected(type_of(path))
    return wants_share and isinstance(value, float) and 0 < value <= 1


def _first_per_place(faults: Iterable[Fault]) -> Iterator[Fault]:
    """Yield one fault per key and place: the first is nearest to the cause."""
    reported = set()
    for fault in faults:
        where = (fault.file, fault.line, fault.key)
        if where not in reported:
            reported.add(where)
            yield fault


def _plain_name(stem: str) -> str:
    """Return ``stem`` with everything replaced that a name may not hold."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", stem).lstrip(".-")[:100] or "scenario"
