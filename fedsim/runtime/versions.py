"""Which versions a process has, and what of it another process must have too."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

__all__ = ["VersionMismatch", "installed", "version_mismatches"]

PACKAGES = ("fedsim", "ray", "torch", "flwr", "numpy")

NEEDED = ("python", "fedsim", "ray")
"""What must be the same for a run to work; the others may move the last bits of its results."""


@dataclass(frozen=True)
class VersionMismatch:
    """What differs between two processes, in words."""

    faults: tuple[str, ...] = ()
    """Why they cannot work together."""
    notes: tuple[str, ...] = ()
    """Why they may compute different bits."""


def installed() -> dict[str, str]:
    """Return this process's versions."""
    releases = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            releases[package] = version(package)
        except PackageNotFoundError:
            releases[package] = "absent"
    return releases


def version_mismatches(theirs: Mapping[str, str], ours: Mapping[str, str]) -> VersionMismatch:
    """Return what differs.

    >>> apart({"ray": "2", "torch": "2.12"}, {"ray": "2", "torch": "2.13"}).notes
    ('torch 2.12 there, 2.13 here',)
    """
    texts = {
        name: f"{name} {theirs[name]} there, {ours[name]} here"
        for name in ours
        if theirs[name] != ours[name]
    }
    severe = [name for name in texts if name in NEEDED or theirs[name] == "absent"]
    return VersionMismatch(
        tuple(texts[name] for name in severe),
        tuple(texts[name] for name in texts if name not in severe),
    )
