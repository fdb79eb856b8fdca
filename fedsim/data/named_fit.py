"""What cannot be done with inputs that are several arrays by name.

It imports neither NumPy nor torch: ``fedsim check`` asks before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fedsim.errors import Fault
from fedsim.plugins.registry import describe, names
from fedsim.schema.public_scale import PublicScale

if TYPE_CHECKING:
    from fedsim.schema.scenario import Scenario

__all__ = ["named_faults"]


def named_faults(scenario: Scenario, inputs: Sequence[str]) -> Iterator[Fault]:
    """Yield what cannot be done with several inputs by name.

    Args:
        scenario: all of it matters.
        inputs: their names.
    """
    several = f"the inputs are several arrays: {', '.join(inputs)}"
    if scenario.model.use in names("model") and scenario.model.use != "live_module":
        hint = "name one of yours, whose forward takes them as arguments"
        yield Fault("", 0, 0, "model", f"{scenario.model.use} takes one array, and {several}", hint)
    rule = describe("client", scenario.local.use, scenario.folder)
    is_private = "under" in rule.methods
    if rule.constants.get("tasks") or is_private or scenario.adapt.select != "last":
        key = "privacy" if is_private else "strategy"
        yield Fault("", 0, 0, key, f"{rule.name} looks into one array of inputs, and {several}")
    augment = scenario.local.parameters.get("augment")
    settings = {
        "data.feature_shift": scenario.data.feature_shift is not None,
        "data.normalize": isinstance(scenario.data.normalize, PublicScale),
        "data.partition.targets": bool(scenario.data.partition.parameters.get("targets")),
        "local.augment": bool(augment) and isinstance(augment, list | tuple),
        "compute.compile": scenario.compute.compile == "on",
        "compute.precision": scenario.compute.precision != "float32",
    }
    for key, is_set in settings.items():
        if is_set:
            yield Fault("", 0, 0, key, f"it is for one array of inputs, and {several}")
