"""Ray itself: started on this machine or joined, shared by several runs, and its nodes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray._private import ray_constants

from fedsim.runtime.allocation import ClusterNode
from fedsim.runtime.joining import join

__all__ = ["JOIN", "SharedRay", "driver_node", "nodes", "shared", "start"]

JOIN = "FEDSIM_RAY"
"""The environment variable that names a Ray on this machine which a run joins, not starts."""


def start(address: str | None, workers: int | Literal["auto"]) -> None:
    """Start Ray on this machine, or join the cluster at ``address``.

    Raises:
        ScenarioError: if there is no such cluster, or it is one of another Ray or Python.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if (address := address or os.environ.get(JOIN)) is not None:
        join(address, **quiet)
        return
    # Ray keeps to the loopback interface only where it thinks that there is no cluster; otherwise
    # it listens on all of them, and whoever reaches it runs code here.  Its switch is private.
    ray_constants.ENABLE_RAY_CLUSTER = False
    # No runtime environment: with one, Ray cannot use the workers that it starts beforehand.  It
    # sets OMP_NUM_THREADS to an actor's CPUs by itself.
    ray.init(
        address="local",  # never one that somebody else left running here
        num_cpus=None if workers == "auto" else workers,
        include_dashboard=False,
        **quiet,
    )


def nodes() -> list[ClusterNode]:
    """Return the living nodes of the cluster, as Ray counts them."""
    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [
        ClusterNode(
            id=node["NodeID"],
            name=node["NodeManagerHostname"],
            cpus=int(node["Resources"].get("CPU", 0)),
            gpus=node["Resources"].get("GPU", 0.0),
        )
        for node in listed
        if node["Alive"]
    ]


def driver_node() -> str | None:
    """Return the driver's node; None where it has none and is a guest of Ray's client server."""
    is_guest: bool = ray.util.client.ray.is_connected()  # type: ignore[no-untyped-call]
    return None if is_guest else str(ray.get_runtime_context().get_node_id())


@dataclass(frozen=True)
class SharedRay:
    """A Ray that several runs are about to share."""

    cpus: int
    gpus: float
    environment: dict[str, str]
    """What lets a process join it."""


@contextmanager
def shared(address: str | None, workers: int | Literal["auto"]) -> Iterator[SharedRay]:
    """Keep a Ray on this machine, or a link to the cluster at ``address``, for other processes."""
    ours = not ray.is_initialized()
    if ours:
        start(address, workers)
    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        environment = {} if address else {JOIN: ray.get_runtime_context().gcs_address}
        yield SharedRay(int(resources.get("CPU", 1)), resources.get("GPU", 0.0), environment)
    finally:
        if ours:
            ray.shutdown()
