"""The worker processes of a run on Ray; they load their libraries while the driver loads its own.

Nothing heavy is imported here but Ray, so that a pool can be started before anything else is done.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from fedsim.errors import FedsimError
from fedsim.runtime.allocation import allocate
from fedsim.runtime.ray_session import driver_node, nodes, start
from fedsim.runtime.versions import installed

if TYPE_CHECKING:
    from fedsim.aggregate import Sums
    from fedsim.flower.chunk import Chunk, ChunkReply
    from fedsim.runtime.data_shipping import Shipment, ShippedFile
    from fedsim.schema.scenario import Compute, Scenario

__all__ = ["RayPool", "ready_pool", "started_early"]


@dataclass(frozen=True)
class WorkerReady:
    """What a worker says when it is ready."""

    node: str
    was_shipped: bool
    """Whether the data came to its node through Ray."""
    versions: Mapping[str, str]


class RayWorker:
    """A host in a process of its own."""

    def __init__(self) -> None:
        import fedsim.runtime.host  # noqa: F401  # seconds, which pass before the data is ready

        gc.freeze()  # what is loaded stays: nobody need look for garbage in it in every round
        self._contents: dict[str, Any] = {}
        self._exchange = -1  # which one the sum is of
        self._sums: Sums

    def open(self, scenario: Scenario, shipment: Shipment) -> WorkerReady | None:
        """Open the run's data where it is; None: it is not on this node."""
        from fedsim.runtime.data_shipping import at_hand

        store = at_hand(shipment)
        return None if store is None else self._opened(scenario, store, was_shipped=False)

    def receive(
        self, scenario: Scenario, shipment: Shipment, files: Sequence[ShippedFile]
    ) -> WorkerReady:
        """Open the run's data, which the first worker of a node takes out of ``files``."""
        from fedsim.runtime.data_shipping import unpack

        return self._opened(scenario, unpack(shipment, files), was_shipped=True)

    def _opened(self, scenario: Scenario, store: Path, was_shipped: bool) -> WorkerReady:
        from fedsim.runtime.host import Host

        self._host = Host(scenario, store, "cuda" if ray.get_gpu_ids() else "cpu")
        return WorkerReady(str(driver_node()), was_shipped, installed())

    def pid(self) -> int:
        """Return the process id."""
        return os.getpid()

    def run(self, chunk: Chunk, refs: Sequence[Any], keep: int | None = None) -> ChunkReply:
        """Run one chunk; a content is fetched and kept when it is first met.

        Args:
            chunk: what is done.
            refs: where its contents are.
            keep: the number of an exchange whose sum stays here until it is asked for.
        """
        by_id = {ref.hex(): ref for ref in refs}
        self._contents = {
            name: self._contents[name] if name in self._contents else ray.get(ref)
            for name, ref in by_id.items()
        }
        reply = self._host.run(chunk, [self._contents[ref.hex()] for ref in refs])
        return reply if keep is None else self._without_sum(reply, keep)

    def _without_sum(self, reply: ChunkReply, exchange: int) -> ChunkReply:
        if self._exchange != exchange:
            self._exchange, self._sums = exchange, type(reply.sums)()
        self._sums.merge(reply.sums)
        return replace(reply, sums=type(reply.sums)())

    def kept(self) -> Sums:
        """Return the sum of an exchange."""
        return self._sums

    def merged(self, others: Sequence[Any]) -> Sums:
        """Return the sum of an exchange, those of this node's other workers added."""
        for ref in others:
            self._sums.merge(ray.get(ref))
        return self._sums


class RayPool:
    """As many workers as a run asks for, and Ray, unless it ran before."""

    def __init__(self, compute: Compute) -> None:
        """Call the workers.

        Raises:
            ScenarioError: if the cluster cannot be joined, or is too small.
        """
        self._ours = not ray.is_initialized()
        if self._ours:
            start(compute.address, compute.workers)
        self.actors: list[Any] = []
        self._room: Any = None
        try:
            allocation = allocate(nodes(), compute)
        except FedsimError:
            self.close()
            raise
        self._gpus = allocation.gpus
        # All workers or none: two runs that each hold half of a cluster would wait for ever.
        bundle = {"CPU": 1, **({"GPU": self._gpus} if self._gpus else {})}
        self._room = placement_group([bundle] * allocation.workers, strategy="SPREAD")
        self.actors += [self.spawn() for _ in range(allocation.workers)]

    def spawn(self) -> Any:
        """Return a new worker, on its way."""
        remote: Any = ray.remote(RayWorker)  # ray makes its methods at run time
        return remote.options(
            num_cpus=1,
            num_gpus=self._gpus,
            max_restarts=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(self._room),
        ).remote()

    def close(self) -> None:
        """End the workers, and Ray too if it was started here."""
        for actor in self.actors:
            ray.kill(actor)
        if self._room is not None:
            remove_placement_group(self._room)
        if self._ours:
            ray.shutdown()
        self.actors, self._room, self._ours = [], None, False


class _EarlyPool:
    """A pool that is being started, and the thread that starts it.

    The kernel ends Ray's processes with the thread that started them, so that thread stays.
    """

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._is_here, self._is_done = Event(), Event()
        self._pool: RayPool | None = None
        self._thread = Thread(target=self._stay, daemon=True)
        self._thread.start()

    def _stay(self) -> None:
        try:
            self._pool = RayPool(self._compute)
        except Exception:  # whoever needs the pool starts another, and gets the error
            pass
        finally:
            self._is_here.set()
        self._is_done.wait()

    def pool(self) -> RayPool | None:
        """Return the pool once it is ready; None if it failed to start."""
        self._is_here.wait()
        return self._pool

    def close(self) -> None:
        """Close the pool."""
        if (pool := self.pool()) is not None:
            pool.close()
        self._is_done.set()
        self._thread.join()


_CALLED: list[_EarlyPool] = []
"""At most one: a command runs one scenario."""


@contextmanager
def started_early(compute: Compute) -> Iterator[None]:
    """Start a pool while the block does other things, such as loading torch."""
    if ray.is_initialized():
        yield
        return
    _CALLED.append(_EarlyPool(compute))
    try:
        yield
    finally:
        _CALLED.pop().close()


def ready_pool(compute: Compute) -> RayPool:
    """Return the pool that was started early, or a new one.

    Raises:
        ScenarioError: as :class:`RayPool`.
    """
    return (_CALLED[-1].pool() if _CALLED else None) or RayPool(compute)
