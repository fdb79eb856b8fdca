"""What a user should know before a run goes on elsewhere than where it began."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from fedsim.kernels import in_force
from fedsim.runlog.manifest import cpu_model
from fedsim.runlog.run_folder import RunFolder

__all__ = ["resume_notes"]

_COMPUTING = ("torch", "numpy")


def resume_notes(folder: RunFolder) -> list[str]:
    """Return why the rounds to come may differ in their last bits from those that would have been.

    They are equal on the same packages and processor, with the same kernels: see
    ``docs/determinism.md``.
    """
    begun: dict[str, Any] | None = folder.read_json("manifest.json")
    if begun is None or not folder.rounds():
        return []
    differences = []
    if "repeatable" not in begun:
        differences.append("its kernels were not pinned (fedsim 0.1)")
    elif (before := begun["repeatable"]["settings"]) != in_force():
        differences.append(
            f"kernels were set by {json.dumps(before)}, now {json.dumps(in_force())}"
        )
    if begun.get("cpu", cpu_model()) != cpu_model():
        differences.append(f"the processor was {begun['cpu']}, now {cpu_model()}")
    packages = begun.get("packages", {})
    differences += [
        f"{name} was {packages[name]}, now {version(name)}"
        for name in _COMPUTING
        if packages.get(name, version(name)) != version(name)
    ]
    if not differences:
        return []
    return [
        f"where this run began {'; '.join(differences)}: last bits of the rounds to come may "
        "differ from those of a run that was never stopped"
    ]
