"""What is wrong between the augmentations of a local update rule and the task."""

from __future__ import annotations

from collections.abc import Iterator

from fedsim.errors import Fault
from fedsim.plugins import registry
from fedsim.scenario.node import YamlNode
from fedsim.scenario.plugin_parameters import Settled

__all__ = ["faults"]


def faults(tree: YamlNode, settled: Settled) -> Iterator[Fault]:
    """Yield a fault for each augmentation that moves pixels whose labels would stay.

    Args:
        tree: of the scenario.
        settled: its parts; faulty ones are left out, and their faults are enough.
    """
    task, local = settled.parts.get(("task",)), settled.parts.get(("local",))
    if task is None or local is None or task["use"] != "segmentation":
        return
    for position, part in enumerate(local.get("augment") or ()):
        node = tree.at(("local", "augment", position)) or tree
        signature = registry.describe("augmentation", part["use"])
        if signature.constants.get("moves_pixels", False):
            message = f"{registry.short(part['use'])} moves pixels, and their labels would stay"
            hint = "cutout and gaussian_noise leave pixels where they are"
            yield node.place.fault(("local", "augment", position), message, hint)
