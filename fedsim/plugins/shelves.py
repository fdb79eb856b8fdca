"""Where the plug-ins of each kind stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["SHELVES", "Shelf"]


@dataclass(frozen=True)
class Shelf:
    """Where the plug-ins of one kind are."""

    module: str
    """A package with a file for each, or one module with a class for each."""
    group: str
    """Of entry points of other packages."""
    engine_arguments: tuple[str, ...] = ()
    """Arguments that the engine gives to a class that asks for them; they are no parameters."""
    foreign: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Names such as ``torch:NAdam``: from what stands before the colon to the module that has the
    class, and to ours, ``module:Class``, whose ``of`` is given the name and the arguments."""


SHELVES = {
    "strategy": Shelf("fedsim.strategies", "fedsim.strategies"),
    "client": Shelf("fedsim.clients", "fedsim.clients"),
    "source": Shelf("fedsim.data.sources", "fedsim.sources"),
    "partition": Shelf("fedsim.data.partitions", "fedsim.partitions"),
    "shift": Shelf("fedsim.data.shift", "fedsim.shifts"),
    "model": Shelf("fedsim.models", "fedsim.models", ("shape", "classes", "outputs")),
    "task": Shelf("fedsim.tasks", "fedsim.tasks", ("targets",)),
    "metric": Shelf("fedsim.metrics.own", "fedsim.metrics"),
    "optimizer": Shelf(
        "fedsim.optimizers.update_rules",
        "fedsim.optimizers",
        ("params",),
        {"torch": ("torch.optim", "fedsim.optimizers.torch_optimizer:TorchOptimizer")},
    ),
    "schedule": Shelf("fedsim.optimizers.schedules", "fedsim.schedules"),
    "stop_rule": Shelf("fedsim.optimizers.stop_rules", "fedsim.stop_rules"),
    "augmentation": Shelf(
        "fedsim.augmentations.random_changes",
        "fedsim.augmentations",
        foreign={
            "torchvision": (
                "torchvision.transforms.v2",
                "fedsim.augmentations.torchvision_transform:TorchvisionTransform",
            )
        },
    ),
    "sampler": Shelf("fedsim.cohort", "fedsim.samplers"),
    "tracker": Shelf("fedsim.runlog.trackers", "fedsim.trackers"),
}
