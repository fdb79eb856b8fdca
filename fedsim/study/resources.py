"""How cells share the machine: one core each, or one Ray for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from fedsim.schema.scenario import Scenario

__all__ = ["StudyResources", "shared"]


@dataclass(frozen=True)
class StudyResources:
    """How many cells run side by side, and what each is told."""

    jobs: int
    sets: tuple[str, ...] = ()
    """Overrides for cells that were not begun before."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the cells' processes."""


@contextmanager
def shared(scenarios: Sequence[Scenario], jobs: int) -> Iterator[StudyResources]:
    """Yield the resources for ``scenarios``, with Ray started for it where they ask for Ray.

    Cells of one process each take one core.  Cells on Ray all live in one Ray, which is started
    here or is the cluster that they name, and each takes its share of the workers.
    """
    on_ray = [c for scenario in scenarios if (c := scenario.compute).backend == "ray" or c.address]
    if jobs < 2 or not on_ray:
        yield StudyResources(jobs, ("compute.backend=local",) if jobs > 1 else ())
        return
    from fedsim.runtime.ray_session import shared as shared_ray

    requested = on_ray[0].workers
    with shared_ray(on_ray[0].address, requested) as resources:
        workers = max(1, resources.cpus // jobs)
        workers = workers if requested == "auto" else min(workers, requested)
        gpus = resources.gpus / (workers * jobs)
        sets = (f"compute.workers={workers}", f"compute.gpus_per_worker={gpus:.3g}")
        yield StudyResources(jobs, sets, resources.environment)
