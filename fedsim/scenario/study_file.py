"""From a study file to its cells, each a scenario, or to everything that is wrong at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedsim.errors import Fault, ScenarioError
from fedsim.plugins import registry
from fedsim.scenario import yaml_file
from fedsim.scenario.inherit import assemble, overlaid, presets
from fedsim.scenario.node import SourceLocation, YamlNode
from fedsim.scenario.study_cells import AxisLevel, Base, cells_of
from fedsim.scenario.study_schema import Compare, Study, StudyHeader
from fedsim.scenario.tune import Tune, span_faults
from fedsim.schema.wording import at, did_you_mean, inside, misfit, walked

__all__ = ["is_study", "load_study"]

LONGEST = 60
_SECTIONS = {"report": Compare, "tune": Tune}


def is_study(path: Path) -> bool:
    """Return whether the file says ``kind: study``; false where it cannot be read."""
    try:
        kind = yaml_file.read(path)[0].child("kind")
    except ScenarioError:
        return False
    return kind is not None and kind.value == "study"


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Return the study in the file, with every cell checked.

    Args:
        path: the file.
        overrides: ``--set`` values over what the base says, under what the levels say.

    Raises:
        ScenarioError: if anything is wrong in the study, its base or a cell; holds every fault.
    """
    tree, faults = yaml_file.read(path, str(path))
    head, wrong = _head(tree, path)
    faults += wrong
    axes: dict[str, list[AxisLevel]] = {}
    for axis, node in _items(tree.child("axes")):
        axes[axis] = list(_levels(axis, node, faults))
    if not any(axes.values()) and not faults:
        faults.append((tree.child("axes") or tree).place.fault("axes", "no axis has a level"))
    if head is None or faults:
        raise ScenarioError(list(dict.fromkeys(faults)))
    axes = dict(sorted(axes.items(), key=lambda item: item[0] != "strategy"))
    faults += [*_references(tree, head, axes), *_tune(tree, head)]
    base = _base(tree, path, head.base, overrides)
    if faults:
        raise ScenarioError(faults)
    cells, searches = cells_of(tree, head, axes, base)
    names = {axis: tuple(level.name for level in levels) for axis, levels in axes.items()}
    return Study(head, names, cells, searches)


def _items(node: YamlNode | None) -> list[tuple[str, YamlNode]]:
    return list(node.value.items()) if node is not None and isinstance(node.value, dict) else []


def _head(tree: YamlNode, path: Path) -> tuple[StudyHeader | None, list[Fault]]:
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem).lstrip(".-")[:100] or "study"
    values = {"name": stem, **tree.plain()}
    try:
        return StudyHeader.model_validate(values), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
    return None, [_fault(detail, values, tree) for detail in details]


def _fault(detail: Any, values: dict[str, Any], tree: YamlNode) -> Fault:
    loc, steps = detail["loc"], walked(values, detail["loc"])
    model: Any = _SECTIONS.get(str(loc[0]), StudyHeader) if len(loc) > 1 else StudyHeader
    by_name = {field.alias or name: field for name, field in model.model_fields.items()}
    if detail["type"] == "extra_forbidden":
        hint = did_you_mean(str(loc[-1]), by_name) or f"known here: {', '.join(by_name)}"
        return tree.deepest(steps).key.fault(steps, "unknown key", hint)
    if detail["type"] == "missing":
        about = by_name[str(loc[-1])].description or ""
        above = tree.deepest(steps)
        place = above.key if steps else SourceLocation(tree.place.file)
        return place.fault(loc, f"is missing: {_lowered(about)}")
    is_inner = model is not StudyHeader and len(steps) > 1
    kind = by_name[str(steps[is_inner])].rebuild_annotation()
    inner = steps[1 + is_inner :]
    return tree.deepest(steps).place.fault(steps, misfit(inside(kind, inner), at(values, steps)))


def _lowered(text: str) -> str:
    return " ".join((text[:1].lower() + text[1:]).split()).rstrip(".")


def _levels(axis: str, node: YamlNode, faults: list[Fault]) -> Iterator[AxisLevel]:
    where = ("axes", axis)
    if isinstance(node.value, list) and axis == "strategy":
        yield from _strategies(node.value, faults)
    elif isinstance(node.value, dict):
        for name, level in node.value.items():
            if not (name and name.isprintable() and len(name) <= LONGEST):
                message = f"a level's name is at most {LONGEST} printable characters"
                faults.append(level.key.fault(where, message))
            elif not isinstance(level.value, dict):
                message = "a level is a mapping of dotted keys, such as {rounds: 10}"
                faults.append(level.place.fault((*where, name), message))
            else:
                yield AxisLevel(name, tuple(level.value.items()))
    else:
        kind = "a list of strategies or named levels" if axis == "strategy" else "named levels"
        message = f"{kind} are expected, such as {{small: {{rounds: 10}}}}"
        faults.append(node.place.fault(where, message))


def _strategies(items: Sequence[YamlNode], faults: list[Fault]) -> Iterator[AxisLevel]:
    """Yield a level for each strategy, called by its name; by its parameters too at need."""
    uses = [_use(item) for item in items]
    names: set[str] = set()
    for position, (item, use) in enumerate(zip(items, uses, strict=True)):
        name = use
        if Counter(uses)[use] > 1 and isinstance(item.value, dict):
            parameters = [
                (key, n.plain()) for key, n in item.value.items() if key not in ("use", "name")
            ]
            name = " ".join([use, *(f"{key}={value}" for key, value in parameters)])[:LONGEST]
        if name in names:
            message = f"the strategy {name!r} is in the list twice"
            faults.append(item.place.fault(("axes", "strategy", position), message))
        names.add(name)
        yield AxisLevel(name, (("strategy", item),))


def _use(item: YamlNode) -> str:
    use = item if isinstance(item.value, str) else item.child("use") or item.child("name") or item
    return registry.short(str(use.value))[:LONGEST] if isinstance(use.value, str) else "?"


def _references(
    tree: YamlNode, head: StudyHeader, axes: Mapping[str, Sequence[AxisLevel]]
) -> Iterator[Fault]:
    """Yield a fault for each level that ``exclude`` or ``report`` names and that is not there."""
    names = {axis: [level.name for level in levels] for axis, levels in axes.items()}
    for position, combination in enumerate(head.exclude):
        for axis, level in combination.items():
            path = ("exclude", position, axis)
            node = tree.deepest(path)
            if axis not in names:
                hint = did_you_mean(axis, names) or f"there are {', '.join(names)}"
                yield node.key.fault(path, "no such axis", hint)
            elif level not in names[axis]:
                yield node.place.fault(path, f"no such level of {axis}", _near(level, names[axis]))
    first, baseline = next(iter(names)), head.report.baseline
    if baseline is not None and baseline not in names[first]:
        place = tree.deepest(("report", "baseline")).place
        message = f"no level of {first} is called {baseline!r}"
        yield place.fault("report.baseline", message, _near(baseline, names[first]))


def _tune(tree: YamlNode, head: StudyHeader) -> Iterator[Fault]:
    if head.tune is None:
        return
    yield from span_faults(tree.deepest(("tune", "space")))
    if head.tune.seeds > len(head.seeds):
        place = tree.deepest(("tune", "seeds")).place
        yield place.fault("tune.seeds", f"the study has {len(head.seeds)} only")


def _near(name: str, names: Sequence[str]) -> str:
    return did_you_mean(name, names) or f"there are {', '.join(names)}"


def _base(tree: YamlNode, path: Path, reference: str, overrides: Sequence[str]) -> Base:
    place = tree.deepest(("base",)).place
    file = path.parent / reference
    if reference.startswith("preset:"):
        available, preset = presets(), reference.removeprefix("preset:")
        if preset not in available:
            message = f"no preset is called {preset!r}"
            raise ScenarioError([place.fault("base", message, _near(preset, list(available)))])
        file = available[preset]
    elif not file.is_file():
        raise ScenarioError([place.fault("base", f"there is no file {reference!r}")])
    base, faults = assemble(file, overrides)
    for key, value in _items(tree.child("set")):
        base, wrong = overlaid(base, key, value)
        faults += [replace(fault, key=fault.key or key) for fault in wrong]
    return Base(base, file, faults)
