"""Parameters that have a new name: the old one is still taken, for one version, with a note."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from fedsim.errors import Fault, RenamedKeyWarning
from fedsim.plugins.signature import Signature
from fedsim.scenario.node import YamlNode, dotted

__all__ = ["RENAMED", "with_new_names"]

RENAMED: Mapping[str, str] = {
    "deceit_cap": "domain_loss_cap",
    "keep": "prototype_momentum",
    "most": "max_ratio",
    "questions": "max_queries",
    "spread": "prototype_std",
    "unit_features": "normalize_features",
}
"""From what a strategy's parameter was called in version 0.1; goes with version 0.3."""


def with_new_names(
    path: tuple[str, ...], entries: Mapping[str, YamlNode], signature: Signature
) -> tuple[dict[str, YamlNode], list[Fault]]:
    """Return the part's entries under the names that its plug-in knows, and what is wrong.

    A plug-in that has a parameter of an old name keeps it: the name is its own.

    Args:
        path: of the part in the file.
        entries: as they are written there.
        signature: what the plug-in may be told.

    Warns:
        RenamedKeyWarning: for each old name that is taken.
    """
    present: dict[str, YamlNode] = {}
    faults = []
    for name, node in entries.items():
        new = RENAMED.get(name, "")
        if name in signature.parameters or new not in signature.parameters:
            present[name] = node
        elif new in entries:
            message = f"is what {new!r} was called, and both are there"
            faults.append(node.key.fault((*path, name), message, f"leave out {name!r}"))
        else:
            place = f"{node.key.file}:{node.key.line}: " if node.key.line else ""
            old, at = dotted((*path, name)), dotted((*path, new))
            warnings.warn(f"{place}{old} is now called {at}", RenamedKeyWarning, stacklevel=2)
            present[new] = node
    return present, faults
