"""The plug-in parts of a scenario: are they there, and do their parameters fit them?"""

from __future__ import annotations

import os
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from fedsim.errors import Fault, ScenarioError
from fedsim.plugins import registry
from fedsim.plugins.signature import Signature
from fedsim.scenario.inherit import FILE_SOURCES
from fedsim.scenario.keys import PART, fields
from fedsim.scenario.local_rules import OF_SGD, optimizer_faults, unsupported
from fedsim.scenario.nested_parts import nested_parts
from fedsim.scenario.node import YamlNode, dotted
from fedsim.scenario.renamed_keys import with_new_names
from fedsim.schema.part import nested_kind
from fedsim.schema.scenario import PARTS
from fedsim.schema.wording import did_you_mean, listed, misfit, nearest, shown

__all__ = ["Settled", "settle"]

DEFAULTS: dict[tuple[str, ...], str] = {
    ("data", "partition"): "iid",
    ("clients", "sampler"): "uniform",
}
ORDER = sorted(PARTS, key=lambda path: path == ("local",))
"""The strategy names the local update rule, so ``local`` comes last."""


@dataclass
class Settled:
    """The parts so far."""

    parts: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    """With nothing implicit left; the faulty ones are left out."""
    signatures: dict[tuple[str, ...], Signature] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def places_of(self, name: str) -> list[str]:
        """Return the sections and parts of this scenario in which ``name`` is a key."""
        sections = [path[:-1] for path, _ in fields() if path[-1] == name]
        parts = [
            path for path, signature in self.signatures.items() if name in signature.parameters
        ]
        return [f"'{dotted(place)}'" if place else "the top level" for place in [*sections, *parts]]

    def hint(self, name: str, valid: Iterable[str]) -> str:
        """Return what to do about an unknown key ``name`` where there may be ``valid`` ones."""
        if places := self.places_of(name):
            return f"{name!r} belongs under {listed(places, ' or ')}"
        return did_you_mean(name, valid) or f"known here: {', '.join(valid)}"


def settle(tree: YamlNode) -> Settled:
    """Return the parts of ``tree``, complete, and what is wrong with them."""
    settled = Settled()
    for path in ORDER:
        part = tree.at(path)
        if part is None and (name := _default(path, tree, settled)):
            part = YamlNode({"use": YamlNode(name, tree.place, tree.place)}, tree.place, tree.place)
        if part is None or (part.value is None and path == ("data", "feature_shift")):
            continue
        if isinstance(part.value, dict):
            settled.faults += _settle(path, part, part.value, tree, settled)
        else:
            settled.faults.append(part.place.fault(path, misfit(PART, part.plain())))
    settled.faults = [_with_better_hint(fault, settled) for fault in settled.faults]
    return settled


def _with_better_hint(fault: Fault, settled: Settled) -> Fault:
    """Return the fault with a better hint, once all parts are known."""
    path, _, name = fault.key.rpartition(".")
    signature = settled.signatures.get(_steps(path))
    if signature is None or name in signature.parameters or name == "use":
        return fault
    places = settled.places_of(name)
    return replace(fault, hint=settled.hint(name, ())) if places else fault


def _steps(key: str) -> tuple[str, ...]:
    return tuple(key.split("."))


def _default(path: tuple[str, ...], tree: YamlNode, settled: Settled) -> str:
    if path == ("local",):
        return _client(tree, settled)
    if path == ("task",):
        return _task(settled)
    section = tree.child(path[0])
    is_section = section is None or isinstance(section.value, dict)
    return DEFAULTS.get(path, "") if is_section else ""


def _task(settled: Settled) -> str:
    """Return the task that the source names, else classification."""
    source = settled.signatures.get(("data", "source"))
    return str(source.constants.get("task", "classification")) if source else "classification"


def _client(tree: YamlNode, settled: Settled) -> str:
    """Return the local update rule that the strategy names; a file starts beside the strategy's."""
    strategy, use = settled.signatures.get(("strategy",)), tree.at(("strategy", "use"))
    if strategy is None or use is None:
        return ""
    client, beside = strategy.client or "sgd", Path(str(use.value).rpartition(":")[0]).parent
    return os.path.abspath(beside / client) if ".py:" in client else client


def _settle(
    path: tuple[str, ...],
    part: YamlNode,
    entries: Mapping[str, YamlNode],
    tree: YamlNode,
    settled: Settled,
) -> Iterator[Fault]:
    use = entries.get("use")
    if use is None and path == ("local",) and (client := _client(tree, settled)):
        use = YamlNode(client, part.place, part.place)
    if use is None:
        if path != ("local",):  # without a strategy nobody knows what local may hold
            yield from _nameless(path, part, entries)
        return
    if not isinstance(use.value, str):
        yield use.place.fault((*path, "use"), misfit(str, use.plain()))
        return
    try:
        signature = registry.describe(PARTS[path], use.value, use.place.folder)
    except ScenarioError as error:
        yield from (use.place.fault(path, fault.message, fault.hint) for fault in error.faults)
        return
    settled.signatures[path] = signature
    entries, twice = with_new_names(path, entries, signature.parameters)
    yield from twice
    values = {name: _absolute(name, node, use.value, signature) for name, node in entries.items()}
    values.pop("use", None)
    nested, nested_faults = _nested(path, entries, signature, tree)
    yield from nested_faults
    values |= nested
    who = _who(path, use.value, entries, settled)
    wrong = list(signature.faults(who, values))
    for fault in wrong:
        node = _node(fault.path, entries) or part
        place = node.key if fault.path and fault.path[0] not in signature.parameters else node.place
        yield place.fault((*path, *fault.path), fault.message, fault.hint)
    file_faults = list(_missing_files(path, use.value, entries, values, signature))
    yield from file_faults
    if not (wrong or file_faults or twice or nested_faults):
        complete = signature.with_defaults(values)
        implied = OF_SGD if nested.get("optimizer") else ()
        settled.parts[path] = {
            "use": use.value,
            **{k: v for k, v in complete.items() if k not in implied},
        }


def _nested(
    path: tuple[str, ...], entries: Mapping[str, YamlNode], signature: Signature, tree: YamlNode
) -> tuple[dict[str, Any], list[Fault]]:
    """Return the plug-ins inside a plug-in as plain values, and what is wrong with them.

    A faulty one is null here, which the parameter may be.
    """
    count = tree.child("rounds")
    nested = nested_parts(path, entries, signature, count.value if count else None)
    faults = [*unsupported(path, entries, signature), *nested.faults]
    if optimizer := nested.signatures.get("optimizer"):
        faults += optimizer_faults(path, entries, signature, optimizer)
    named = [n for n, p in signature.parameters.items() if nested_kind(p.type) and n in entries]
    return {name: nested.plain.get(name, nested.missing(name)) for name in named}, faults


def _node(path: tuple[str | int, ...], entries: Mapping[str, YamlNode]) -> YamlNode | None:
    entry = entries.get(str(path[0])) if path else None
    return entry.at(path[1:]) if entry else None


def _nameless(
    path: tuple[str, ...], part: YamlNode, entries: Mapping[str, YamlNode]
) -> Iterator[Fault]:
    for name, node in entries.items():
        if meant := nearest(name, ("use", "name")):
            yield node.key.fault((*path, name), "unknown key", f"did you mean '{meant}'?")
            return
    yield part.place.fault(path, f"which {PARTS[path]}? `use` is missing")


def _who(path: tuple[str, ...], use: str, entries: Mapping[str, YamlNode], settled: Settled) -> str:
    who = f"{PARTS[path]} {registry.short(use)!r}"
    strategy = settled.signatures.get(("strategy",))
    is_implied = path == ("local",) and "use" not in entries and strategy is not None
    return f"{who}, which strategy {strategy.name} asks for," if is_implied and strategy else who


def _absolute(name: str, node: YamlNode, use: str, signature: Signature) -> Any:
    """Return the parameter's value; a relative path starts where it was written."""
    value = node.plain()
    if not isinstance(value, str):
        return value
    # On the hub unless there is such a folder: a repository's name looks like a relative path.
    is_local_hub = name == "path" and use == "hf" and os.path.isdir(node.place.folder / value)
    if is_local_hub or _is_path(name, use, signature):
        return os.path.abspath(node.place.folder / os.path.expanduser(value))
    return value


def _is_path(name: str, use: str, signature: Signature) -> bool:
    if name not in signature.parameters:
        return False
    return (name == "path" and use in FILE_SOURCES) or _holds_path(signature.parameters[name].type)


def _holds_path(kind: Any) -> bool:
    is_wrapped = get_origin(kind) in (Annotated, Union, types.UnionType)
    return kind is Path or (is_wrapped and any(_holds_path(inner) for inner in get_args(kind)))


def _missing_files(
    path: tuple[str, ...],
    use: str,
    entries: Mapping[str, YamlNode],
    values: Mapping[str, Any],
    signature: Signature,
) -> Iterator[Fault]:
    for name, value in values.items():
        if (
            PARTS[path] != "source"
            or not isinstance(value, str)
            or not _is_path(name, use, signature)
        ):
            continue
        file = re.sub(r"(\.py):\w*$", r"\1", value)  # of a function in a file
        if not os.path.exists(file):
            yield entries[name].place.fault(
                (*path, name), f"there is no file or folder {shown(file)}"
            )
