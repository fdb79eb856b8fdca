"""How many workers a cluster takes, on which nodes, and what part of a GPU each one holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.errors import Fault, ScenarioError

if TYPE_CHECKING:
    from fedsim.schema.scenario import Compute
from fedsim.schema.wording import plural

__all__ = ["Allocation", "ClusterNode", "allocate", "spread", "unfit"]

GRAIN = 10_000
"""Ray counts a GPU in parts of this size."""


@dataclass(frozen=True)
class ClusterNode:
    """One machine of a cluster, as Ray counts it."""

    id: str
    name: str
    cpus: int
    gpus: float = 0.0

    def takes(self, gpus: float) -> int:
        """Return how many workers fit that need a CPU and so much of a GPU each."""
        if not gpus:
            return self.cpus
        on_gpus = math.floor(self.gpus) * math.floor(1 / gpus) if gpus <= 1 else self.gpus // gpus
        return min(self.cpus, int(on_gpus))


@dataclass(frozen=True)
class Allocation:
    """What a run takes of a cluster."""

    workers: int
    gpus: float
    """What each worker holds."""


def allocate(nodes: Sequence[ClusterNode], compute: Compute) -> Allocation:
    """Return the workers that ``compute`` asks for; ``auto`` is one for each CPU.

    Where there are GPUs and nothing else is said, workers live on the nodes that have them, and
    as many share one as it takes.

    Raises:
        ScenarioError: if the cluster has too little of something.
    """
    workers = None if compute.workers == "auto" else compute.workers
    if compute.gpus_per_worker != "auto":
        share = float(compute.gpus_per_worker)
    else:
        share = _share(nodes, workers)
    if share and not any(node.gpus for node in nodes):
        raise unfit("gpus_per_worker", f"{share:g}, but no node of the cluster has a GPU")
    room = sum(node.takes(share) for node in nodes)
    if not room and not share:
        raise unfit("workers", f"the cluster has no CPU: {_listed(nodes)}")
    if not room:
        raise unfit("gpus_per_worker", f"{share:g}, but the cluster has {_listed(nodes)}")
    if (workers or 1) > room:
        gpu_text = f"of {share:g} GPU each " if share else ""
        message = f"{workers}, but the cluster has room for {room} {gpu_text}({_listed(nodes)})"
        raise unfit("workers", message, "auto takes as many as there is room for")
    return Allocation(workers or room, share)


def spread(nodes: Sequence[ClusterNode], allocation: Allocation) -> list[int]:
    """Return how many of the workers each node gets where all of it is free: in turns."""
    count = [0] * len(nodes)
    while sum(count) < allocation.workers:
        for at, node in enumerate(nodes):
            if count[at] < node.takes(allocation.gpus) and sum(count) < allocation.workers:
                count[at] += 1
    return count


def unfit(key: str, message: str, hint: str = "") -> ScenarioError:
    """Return the error that says what a cluster has against ``compute.KEY``."""
    return ScenarioError([Fault("", 0, 0, f"compute.{key}", message, hint)])


def _share(nodes: Sequence[ClusterNode], workers: int | None) -> float:
    """Return the largest part of a GPU that all workers can have."""
    equipped = [node for node in nodes if node.gpus >= 1 and node.cpus]
    workers = workers or sum(node.cpus for node in equipped)
    if not equipped or workers > sum(node.cpus for node in equipped):
        return 0.0
    for sharing in range(1, workers + 1):
        share = math.floor(GRAIN / sharing) / GRAIN
        if sum(node.takes(share) for node in equipped) >= workers:
            return share
    return 0.0


def _listed(nodes: Sequence[ClusterNode]) -> str:
    return "; ".join(f"{node.name}: {_held(node)}" for node in nodes) or "no node"


def _held(node: ClusterNode) -> str:
    gpus = f", {node.gpus:g} GPU{'' if node.gpus == 1 else 's'}" if node.gpus else ""
    return f"{plural(node.cpus, 'CPU')}{gpus}"
