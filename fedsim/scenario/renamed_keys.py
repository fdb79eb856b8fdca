"""Keys that have a new name: the old one is still taken, for one version, with a note.

One table serves the keys of a scenario's sections and the parameters of its plug-ins.  A section's
keys get their new names in each file, before files are merged.  A plug-in's parameters have to wait
until it is known which plug-in is meant, because a plug-in of a user's own may have a parameter
that is called like an old name, and keeps it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from fedsim.errors import Fault, RenamedKeyWarning, ScenarioError
from fedsim.plugins import registry
from fedsim.scenario.node import YamlNode, dotted
from fedsim.schema.scenario import PARTS

__all__ = ["RENAMED", "current_key", "new_name", "superseded", "with_new_names"]

RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "strategy.deceit_cap": "strategy.domain_loss_cap",
        "strategy.keep": "strategy.prototype_momentum",
        "strategy.most": "strategy.max_ratio",
        "strategy.questions": "strategy.max_queries",
        "strategy.spread": "strategy.prototype_std",
        "strategy.unit_features": "strategy.normalize_features",
    }
)
"""From the dotted key of version 0.1 to its name now, in the same section or part.

It goes with version 0.3.
"""


def with_new_names(
    path: tuple[str, ...],
    entries: Mapping[str, YamlNode],
    names: Collection[str],
    renamed: Mapping[str, str] = RENAMED,
) -> tuple[dict[str, YamlNode], list[Fault]]:
    """Return the entries of a section or part under the names it has now, and what is wrong.

    Args:
        path: of the section or part in the file.
        entries: as they are written there.
        names: the names that the section or the plug-in has; an old name among them stays.
        renamed: from old dotted keys to new ones.

    Warns:
        RenamedKeyWarning: for each old name that is taken.
    """
    present: dict[str, YamlNode] = {}
    faults = []
    for name, node in entries.items():
        old = dotted((*path, name))
        new = renamed.get(old, "").rpartition(".")[2]
        if name in names or new not in names:
            present[name] = node
        elif new in entries:
            message = f"is now called {new!r}, and both names are in use here"
            faults.append(node.key.fault(old, message, f"leave out {name!r}"))
        else:
            _note(old, dotted((*path, new)), node)
            present[new] = node
    return present, faults


def _note(old: str, new: str, node: YamlNode) -> None:
    place = f"{node.key.file}:{node.key.line}: " if node.key.line else ""
    warnings.warn(f"{place}{old} is now called {new}", RenamedKeyWarning, stacklevel=3)


def superseded(
    path: tuple[str, ...], below: Mapping[str, YamlNode], above: Mapping[str, YamlNode]
) -> set[str]:
    """Return what ``below`` says under another name than ``above``, which has the last word.

    Args:
        path: of the part that both say something of.
        below: its entries in a parent, or in the file under ``--set``.
        above: its entries in the child, or in the override.

    Warns:
        RenamedKeyWarning: for each old name in ``below``: its file has to change all the same.
    """
    old_names: dict[str, str] = {}  # of each name that is superseded
    for old, new in _renamed_in(path):
        for lower, upper in ((old, new), (new, old)):
            if lower in below and lower not in above and upper in above:
                old_names[lower] = old
    if not old_names:
        return set()
    parameters = _parameters(path, above.get("use", below.get("use")))
    replaced = {name for name, old in old_names.items() if old not in parameters}
    for old in replaced & set(old_names.values()):
        key = dotted((*path, old))
        _note(key, RENAMED[key], below[old])
    return replaced


def _renamed_in(path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for old, new in RENAMED.items():
        section, _, name = old.rpartition(".")
        if section == dotted(path):
            yield name, new.rpartition(".")[2]


def _parameters(path: tuple[str, ...], use: YamlNode | None) -> Collection[str]:
    if use is None or not isinstance(use.value, str):
        return ()
    try:
        return registry.describe(PARTS[path], use.value, use.place.folder).parameters
    except ScenarioError:  # said where the part is settled
        return ()


def new_name(key: str) -> str:
    """Return the dotted key that an old one is now called; empty where it has no new name.

    Args:
        key: ``strategy.most``, with the plug-in between, ``strategy.iwdan.most``, or ``most``.
    """
    *above, last = key.split(".")
    for old, new in RENAMED.items():
        section, _, name = old.rpartition(".")
        is_in_section = not above or f"{'.'.join(above)}.".startswith(f"{section}.")
        if name == last and is_in_section:
            return new
    return ""


def current_key(key: str, keys: Collection[str]) -> str:
    """Return the dotted ``key`` as a complete scenario has it; ``keys`` are that scenario's."""
    return key if key in keys else RENAMED.get(key, key)
