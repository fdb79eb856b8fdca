"""Plug-ins inside a plug-in: the optimizer and the schedule of a local update rule."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_origin

from fedsim.errors import Fault, ScenarioError
from fedsim.plugins import registry
from fedsim.plugins.signature import Parameter, Signature
from fedsim.scenario.node import Step, YamlNode
from fedsim.schema.part import nested_part
from fedsim.schema.wording import misfit, nearest, shown

__all__ = ["NestedParts", "nested_parts"]


@dataclass
class NestedParts:
    """The plug-ins that parameters of one plug-in name."""

    plain: dict[str, Any] = field(default_factory=dict)
    """Each with nothing implicit left, by the parameter; several as a list; the faulty ones are
    left out."""
    signatures: dict[str, Signature] = field(default_factory=dict)
    several: set[str] = field(default_factory=set)
    """The parameters that take a list of plug-ins."""
    faults: list[Fault] = field(default_factory=list)

    def missing(self, name: str) -> list[Any] | None:
        """Return what stands in for a parameter's plug-ins where they are faulty."""
        return [] if name in self.several else None


def nested_parts(
    path: tuple[str, ...], entries: Mapping[str, YamlNode], signature: Signature, rounds: object
) -> NestedParts:
    """Return the plug-ins that the parameters of a plug-in name, and what is wrong with them.

    Args:
        path: of the plug-in that has them.
        entries: its parameters, as they are written.
        signature: its own.
        rounds: of the scenario: how long a schedule is that does not say.
    """
    nested = NestedParts()
    for name, parameter in signature.parameters.items():
        named, node = nested_part(parameter.type), entries.get(name)
        if not (kind := named.kind) or node is None or node.value is None:
            continue
        if named.default and isinstance(node.value, dict) and "use" not in node.value:
            default = YamlNode(named.default, node.place, node.place)
            node = node.with_value({"use": default, **node.value})
        if _takes_several(parameter):
            nested.several.add(name)
            _settle_each((*path, name), kind, node, nested)
            continue
        _settle((*path, name), kind, node, nested)
        plain = nested.plain.get(name, {})
        is_endless = kind == "schedule" and plain.get("over") in ("rounds", "both")
        if is_endless and plain.get("length", 0) is None and type(rounds) is int:
            plain["length"] = rounds
    return nested


def _takes_several(parameter: Parameter) -> bool:
    return get_origin(parameter.type) is tuple


def _settle_each(path: tuple[str, ...], kind: str, node: YamlNode, nested: NestedParts) -> None:
    """Settle a list of plug-ins; each has its place in the list for a name."""
    if not isinstance(node.value, list):
        message = f"a list of plug-ins ({kind}) is expected, not {shown(node.plain())}"
        nested.faults.append(node.place.fault(path, message, "write [NAME, {use: NAME, ...}]"))
        return
    inner = NestedParts()
    for position, item in enumerate(node.value):
        _settle((*path, position), kind, item, inner)
    nested.faults += inner.faults
    if not inner.faults:
        nested.plain[path[-1]] = list(inner.plain.values())


def _settle(path: tuple[Step, ...], kind: str, node: YamlNode, nested: NestedParts) -> None:
    entries = node.value if isinstance(node.value, dict) else {"use": node}
    use = entries.get("use")
    if use is None:
        nested.faults.append(_nameless(path, kind, node, entries))
        return
    if not isinstance(use.value, str):
        nested.faults.append(use.place.fault(path, misfit(str, use.plain())))
        return
    name = _absolute(use)
    try:
        signature = registry.describe(kind, name, use.place.folder)
    except ScenarioError as error:
        nested.faults += [use.place.fault(path, f.message, f.hint) for f in error.faults]
        return
    nested.signatures[str(path[-1])] = signature
    values = {key: entry.plain() for key, entry in entries.items() if key != "use"}
    wrong = signature.faults(f"{kind} {registry.short(name)!r}", values)
    for fault in wrong:
        first = entries.get(str(fault.path[0])) if fault.path else None
        found = first.at(fault.path[1:]) if first else None
        is_unknown = bool(fault.path) and fault.path[0] not in signature.parameters
        place = (found or node).key if is_unknown else (found or node).place
        nested.faults.append(place.fault((*path, *fault.path), fault.message, fault.hint))
    if not wrong:
        nested.plain[str(path[-1])] = {"use": name, **signature.with_defaults(values)}


def _nameless(
    path: tuple[Step, ...], kind: str, node: YamlNode, entries: Mapping[str, YamlNode]
) -> Fault:
    for name, entry in entries.items():
        if nearest(name, ("use",)):
            return entry.key.fault((*path, name), "unknown key", "did you mean 'use'?")
    return node.place.fault(path, f"which {kind}? `use` is missing")


def _absolute(use: YamlNode) -> str:
    """Return a plug-in's name, with an absolute path where it names a file."""
    file = re.fullmatch(r"(.+\.py):([^:]*)", str(use.value))
    if file is None:
        return str(use.value)
    return f"{os.path.abspath(use.place.folder / file[1])}:{file[2]}"
