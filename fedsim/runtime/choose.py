"""Which grid a run gets: in process or on Ray, and why."""

from __future__ import annotations

import os
from importlib.util import find_spec
from math import prod
from pathlib import Path

from fedsim.data.federated import FederatedData
from fedsim.errors import MissingPackage
from fedsim.runtime.grid import ChunkGrid
from fedsim.schema.scenario import Compute, Scenario

__all__ = ["backend_of", "open_grid", "workers_of"]

LARGE = 50_000_000
"""Input values through the model in a run, above which starting Ray (seconds) pays."""


def backend_of(scenario: Scenario, data: FederatedData) -> str:
    """Return ``local`` or ``ray``.

    ``auto`` means Ray where the scenario names a cluster, or where there is more than one core
    and the clients will push more than 50 million input values through the model; else local.
    """
    if scenario.compute.backend != "auto":
        return scenario.compute.backend
    if scenario.compute.address is not None:
        return "ray"
    if scenario.model.use == "live_module":  # no other process has it
        return "local"
    if (os.cpu_count() or 1) < 2 or scenario.compute.workers == 1 or find_spec("ray") is None:
        return "local"
    mean = float(data.sizes.mean())
    turns = scenario.rounds * scenario.clients.per_round.of(len(data.clients), at_least=1)
    epochs = scenario.local.parameters.get("epochs", 1)
    return "ray" if turns * mean * epochs * prod(data.shape) > LARGE else "local"


def workers_of(compute: Compute, backend: str) -> int:
    """Return how many workers a run has on this machine: one in process, else as asked.

    A cluster's nodes decide by themselves: see :mod:`fedsim.runtime.allocation`.
    """
    if backend == "local":
        return 1
    return (os.cpu_count() or 1) if compute.workers == "auto" else compute.workers


def open_grid(scenario: Scenario, data: FederatedData, store: Path) -> ChunkGrid:
    """Return the run's grid, its workers ready.

    Raises:
        MissingPackage: if the scenario asks for Ray and it is not installed.
        RunError: if a worker does not start.
    """
    if backend_of(scenario, data) == "local":
        import torch

        from fedsim.runtime.local import LocalGrid

        gpu = torch.cuda.is_available() and scenario.compute.gpus_per_worker != 0
        return LocalGrid(scenario, store, "cuda" if gpu else "cpu")
    if find_spec("ray") is None:
        raise MissingPackage(
            "compute.backend: ray needs Ray; install it with: pip install 'fedsim[sim]'"
        )
    from fedsim.runtime.ray_grid import RayGrid

    return RayGrid(scenario, store, data.sizes)
