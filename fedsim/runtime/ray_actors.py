"""Clients run in long-lived Ray actors, on this machine or on a cluster; the one file with ray.

Each actor holds the data (memory-mapped) and the client app, takes one chunk at a time, and is
given a round's broadcast once.  Ray retries nothing: an actor that died is replaced here and its
chunk dealt again client by client, so that one that kills its worker is found and set aside.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import ray
from ray._private import ray_constants
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from fedsim.errors import RunError
from fedsim.flower.chunk import Chunk, ChunkReply
from fedsim.flower.client_app import REFERENCE
from fedsim.flower.dealing import dealing
from fedsim.flower.grid import ChunkGrid, Deal
from fedsim.flower.host import Host
from fedsim.scenario.schema import Scenario
from fedsim.wire import ClientId, Turn

__all__ = ["RayGrid", "Shared", "shared", "start"]

MOST_DEATHS = 2
"""A client whose turn ended this many workers is set aside for the rest of the run."""

GRACE_S = 10.0
"""What a chunk may take beyond its clients' deadlines before its worker is killed."""

POLL_S = 1.0

JOIN = "FEDSIM_RAY"
"""The environment variable that names a Ray on this machine which a run joins, not starts."""


class Actor:
    """A host in a process of its own."""

    def __init__(self, scenario: Scenario, store: Path) -> None:
        self._host = Host(scenario, store, "cuda" if ray.get_gpu_ids() else "cpu")
        self._contents: dict[str, Any] = {}

    def sizes(self) -> Any:
        """Return how many examples each client holds, once the host is ready."""
        return self._host.worker.data.sizes

    def pid(self) -> int:
        """Return the process id."""
        return os.getpid()

    def run(self, chunk: Chunk, refs: Sequence[Any]) -> ChunkReply:
        """Run one chunk; a content is fetched and kept when it is first met."""
        wanted = {ref.hex(): ref for ref in refs}
        self._contents = {
            name: self._contents[name] if name in self._contents else ray.get(ref)
            for name, ref in wanted.items()
        }
        return self._host.run(chunk, [self._contents[ref.hex()] for ref in refs])


@dataclass
class Flight:
    """A chunk that a worker is busy with."""

    worker: int
    chunk: Chunk
    since: float


class RayGrid(ChunkGrid):
    """A pool of actors that take chunks: their own clients' first, then each other's."""

    def __init__(self, scenario: Scenario, store: Path) -> None:
        self._deadline = scenario.clients.deadline_s
        self._deaths: dict[ClientId, int] = {}
        self._ours = not ray.is_initialized()
        if self._ours:
            start(scenario.compute.address, scenario.compute.workers)
        self._actors: list[Any] = []
        self._room: Any = None
        try:
            workers, gpus = _share(scenario)
        except RunError:
            self.close()
            raise
        # All workers or none: two runs that each hold half of a cluster would wait for ever.
        self._room = placement_group([{"CPU": 1, **({"GPU": gpus} if gpus else {})}] * workers)
        remote: Any = ray.remote(Actor)  # ray makes its methods at run time
        actor = remote.options(
            num_cpus=1,
            num_gpus=gpus,
            max_restarts=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(self._room),
        )
        self._spawn: Callable[[], Any] = lambda: actor.remote(scenario, store)
        self._actors += [self._spawn() for _ in range(workers)]
        try:
            sizes = ray.get([actor.sizes.remote() for actor in self._actors])[0]
        except ray.exceptions.RayError as error:
            self.close()
            raise RunError(f"a worker did not start: {_cause(error)}") from error
        super().__init__(len(sizes), dealing(scenario, sizes, workers))

    def pids(self) -> list[int]:
        """Return the process ids of the workers."""
        return list(ray.get([actor.pid.remote() for actor in self._actors]))

    def deliver(self, deal: Deal) -> Iterator[ChunkReply]:
        """Yield the reply to each chunk as it comes."""
        refs = [ray.put(content) for content in deal.contents]
        queues: list[deque[Chunk]] = [deque() for _ in self._actors]
        for chunk in deal.chunks:
            queues[chunk.home].append(chunk)
        flights: dict[Any, Flight] = {}
        idle = set(range(self.workers))
        while flights or any(queues):
            for worker in sorted(idle):
                queue = queues[worker] or max(queues, key=_cost)
                if queue:
                    idle.discard(worker)
                    chunk = queue.popleft()
                    used = sorted(set(chunk.content_of))
                    local = replace(chunk, content_of=[used.index(k) for k in chunk.content_of])
                    future = self._actors[worker].run.remote(local, [refs[k] for k in used])
                    flights[future] = Flight(worker, chunk, time.monotonic())
            done, _ = ray.wait(list(flights), num_returns=1, timeout=POLL_S)
            for future in done:
                flight = flights.pop(future)
                idle.add(flight.worker)
                yield from self._land(future, flight, queues[flight.worker])
            self._kill_hung(flights)

    def _land(self, future: Any, flight: Flight, queue: deque[Chunk]) -> Iterator[ChunkReply]:
        try:
            reply: ChunkReply = ray.get(future)
        except ray.exceptions.RayActorError:
            yield from self._bury(flight, queue)
        except ray.exceptions.RayTaskError as error:
            raise RunError(f"a worker failed: {_cause(error)}") from error
        else:
            for turn in reply.turns:
                self._deaths.pop(turn.client, None)  # it was beside the one that did it
            yield reply

    def _bury(self, flight: Flight, queue: deque[Chunk]) -> Iterator[ChunkReply]:
        """Deal a dead worker's clients again, one by one; set aside who killed it twice."""
        self._actors[flight.worker] = self._spawn()
        clients = flight.chunk.clients
        named = f"client {clients[0]}" if len(clients) == 1 else f"{len(clients)} clients"
        self.notes.append(
            f"worker {flight.worker} died while it ran {named}; "
            "it was replaced and the work is done again"
        )
        lost = ChunkReply()
        for part in flight.chunk.parts():
            if len(part.clients) > 1:  # stacked, and perhaps none of them did it
                queue.append(part)
                continue
            (client,) = part.clients
            self._deaths[client] = self._deaths.get(client, 0) + 1
            if self._deaths[client] >= MOST_DEATHS:
                self.set_aside[client] = "its turn ended its worker twice"
                lost.turns.append(Turn(client, fault=self.set_aside[client]))
                self.notes.append(f"client {client} is set aside: {self.set_aside[client]}")
            else:
                queue.append(part)
        if lost.turns:
            yield lost

    def _kill_hung(self, flights: dict[Any, Flight]) -> None:
        if self._deadline is None:
            return
        for flight in flights.values():
            if flight.chunk.phase == REFERENCE:
                continue
            limit = self._deadline * len(flight.chunk.clients) + GRACE_S
            if time.monotonic() - flight.since > limit:
                flight.since = time.monotonic()
                ray.kill(self._actors[flight.worker])

    def close(self) -> None:
        """End the workers, and Ray too if it was started here."""
        for actor in self._actors:
            ray.kill(actor)
        if self._room is not None:
            remove_placement_group(self._room)
        if self._ours:
            ray.shutdown()


def start(address: str | None, workers: int | Literal["auto"]) -> None:
    """Start Ray on this machine, or join the cluster at ``address``."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    # Ray keeps to the loopback interface only where it thinks that there is no cluster; otherwise
    # it listens on all of them, and whoever reaches it runs code here.  Its switch is private.
    ray_constants.ENABLE_RAY_CLUSTER = address is not None
    if address is not None or (address := os.environ.get(JOIN)):
        ray.init(address=address, **quiet)
        return
    ray.init(
        num_cpus=None if workers == "auto" else workers,
        include_dashboard=False,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        **quiet,
    )


@dataclass(frozen=True)
class Shared:
    """A Ray that several runs are about to share."""

    cpus: int
    gpus: float
    environment: dict[str, str]
    """What lets a process join it."""


@contextmanager
def shared(address: str | None, workers: int | Literal["auto"]) -> Iterator[Shared]:
    """Keep a Ray on this machine, or a link to the cluster at ``address``, for other processes."""
    ours = not ray.is_initialized()
    if ours:
        start(address, workers)
    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        own = {} if address else {JOIN: ray.get_runtime_context().gcs_address}
        yield Shared(int(resources.get("CPU", 1)), resources.get("GPU", 0.0), own)
    finally:
        if ours:
            ray.shutdown()


def _cost(queue: deque[Chunk]) -> float:
    return sum(chunk.cost for chunk in queue)


def _share(scenario: Scenario) -> tuple[int, float]:
    """Return how many workers there are, and each one's share of a GPU."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = int(resources.get("CPU", 1)), resources.get("GPU", 0.0)
    workers, share = scenario.compute.workers, scenario.compute.gpus_per_worker
    count = max(1, cpus) if workers == "auto" else workers
    if count > cpus:
        raise RunError(f"compute.workers: {count}, but the Ray cluster has {cpus} CPUs")
    if share != "auto":
        return count, float(share)
    return count, min(1.0, gpus / count)


def _cause(error: BaseException) -> str:
    """Return the last line of a remote error: the one that names it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
