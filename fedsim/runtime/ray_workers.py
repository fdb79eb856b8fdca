"""A run's workers on Ray: start, data, and replacement of a dead worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ray

from fedsim.errors import RunError
from fedsim.runtime.data_shipping import Shipment, ShippedFile, pack
from fedsim.runtime.ray_pool import WorkerReady, ready_pool
from fedsim.runtime.ray_session import driver_node, nodes
from fedsim.runtime.versions import installed, version_mismatches
from fedsim.schema.scenario import Scenario

__all__ = ["Workers", "cause"]

MOST_FAILURES = 3
"""Processes that may die one after the other before a worker takes its first chunk."""


class Workers:
    """The actors by number; the number stays when one is replaced."""

    def __init__(self, scenario: Scenario, store: Path, note: Callable[[str], None]) -> None:
        """Call the workers and wait until each has opened the data.

        Raises:
            RunError: if one does not start.
            ScenarioError: if the cluster cannot be joined, or is too small.
        """
        self._scenario, self._shipment, self._note = scenario, Shipment.of(store), note
        self._files: list[ShippedFile] = []
        self._failures: Counter[int] = Counter()
        self._met: set[str] = set()
        self.opening: dict[Any, int] = {}
        """Which worker each of these futures says to be ready."""
        self._pool = ready_pool(scenario.compute)
        self.actors = self._pool.actors
        self.nodes = [""] * len(self.actors)
        """Where each worker is, once it is ready."""
        self._here = driver_node()
        try:
            for worker in range(len(self.actors)):
                self._open(worker)
            while self.opening:
                self.opened(ray.wait(list(self.opening))[0][0])
        except BaseException:
            self.close()
            raise

    def opened(self, future: Any) -> int | None:
        """Return the number of the worker that is ready now, if any is.

        Raises:
            RunError: if it cannot do its work.
        """
        worker = self.opening.pop(future)
        try:
            ready_worker: WorkerReady | None = ray.get(future)
        except ray.exceptions.RayTaskError as error:
            raise self._failure(error) from error
        except ray.exceptions.RayError as error:
            self._failures[worker] += 1
            if self._failures[worker] >= MOST_FAILURES:
                raise self._failure(error) from error
            self.replace([worker])
            return None
        if ready_worker is None:
            self._files = self._files or pack(self._shipment)
            ready = self.actors[worker].receive.remote(self._scenario, self._shipment, self._files)
            self.opening[ready] = worker
            return None
        self._failures[worker] = 0
        if ready_worker.node not in self._met:
            self._met.add(ready_worker.node)
            self._meet(ready_worker)
        self.nodes[worker] = ready_worker.node
        if not self.opening:
            self._files = []  # the object store has better use for the room
        return worker

    def replace(self, workers: Iterable[int]) -> None:
        """End these workers, if they have not ended, and call others in their place."""
        for worker in workers:
            ray.kill(self.actors[worker])
            self.nodes[worker] = ""
            self.actors[worker] = self._pool.spawn()
            self._open(worker)

    def is_gone(self, node: str) -> bool:
        """Return whether a node has left the cluster."""
        return node not in {alive.id for alive in nodes()}

    def is_far(self, worker: int) -> bool:
        """Return whether what a worker sends has to leave its node to reach the driver."""
        return self.nodes[worker] != self._here

    def close(self) -> None:
        """End the workers, and Ray too if it was started for them."""
        self._pool.close()

    def _open(self, worker: int) -> None:
        self.opening[self.actors[worker].open.remote(self._scenario, self._shipment)] = worker

    def _failure(self, error: BaseException) -> RunError:
        is_cluster = self._scenario.compute.address is not None
        where = "; fedsim cluster check looks at each node" if is_cluster else ""
        return RunError(f"a worker did not start: {cause(error)}{where}")

    def _meet(self, ready: WorkerReady) -> None:
        """Say what is special about a node, when its first worker is ready."""
        what = version_mismatches(ready.versions, installed())
        if what.faults:
            raise RunError(f"node {ready.node[:8]} has {'; '.join(what.faults)}")
        for text in what.notes:
            self._note(f"node {ready.node[:8]} has {text}: last bits may differ")
        if ready.was_shipped:
            size = self._shipment.bytes / 1e6
            self._note(
                f"node {ready.node[:8]} does not see {self._shipment.store}: "
                f"{size:.1f} MB were shipped to it"
            )


def cause(error: BaseException) -> str:
    """Return the last line of a remote error: the one that names it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
