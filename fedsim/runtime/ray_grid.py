"""Clients run in long-lived Ray actors, on this machine or on a cluster.

Each actor holds the data (memory-mapped) and the client app, and is given a round's broadcast
once.  It takes one chunk at a time, and the next one lies there when it is done.  Ray retries
nothing: an actor that died is replaced here and its chunk dealt again client by client, so that
one that kills its worker is found and set aside.

On a node that is not the driver's, workers keep their sums until the exchange is over; one of
them adds them up and sends the one sum.  Their chunks are settled then, not before: what
a worker or a node takes with it is done again by others.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from fedsim.errors import RunError
from fedsim.flower.chunk import Chunk, ChunkReply
from fedsim.flower.client_app import REFERENCE
from fedsim.runtime.grid import ChunkGrid, Schedule
from fedsim.runtime.ray_exchange import ExchangeWork, PendingChunk
from fedsim.runtime.ray_workers import Workers, cause
from fedsim.runtime.scheduling import scheduler_of
from fedsim.schema.scenario import Scenario
from fedsim.wire import ClientId, ReplyInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RayGrid"]

MOST_DEATHS = 2
"""A client whose turn ended this many workers is set aside for the rest of the run."""

GRACE_S = 10.0
"""What a chunk may take beyond its clients' deadlines before its worker is killed."""

POLL_S = 1.0


class RayGrid(ChunkGrid):
    """A pool of actors that take chunks: their own clients' first, then each other's."""

    def __init__(self, scenario: Scenario, store: Path, sizes: NDArray[np.int64]) -> None:
        """Call the workers and wait for them; ``sizes`` are the clients' training examples."""
        self._deadline = scenario.clients.deadline_s
        self._deaths: dict[ClientId, int] = {}
        self._exchanges = 0
        notes: list[str] = []
        self._team = Workers(scenario, store, notes.append)
        super().__init__(len(sizes), scheduler_of(scenario, sizes, len(self._team.actors)))
        self.notes = notes

    def pids(self) -> list[int]:
        """Return the process ids of the workers."""
        return list(ray.get([actor.pid.remote() for actor in self._team.actors]))

    def deliver(self, deal: Schedule) -> Iterator[ChunkReply]:
        """Yield the reply to each chunk as it comes, or once its node's sum is here."""
        self._exchanges += 1
        work = ExchangeWork.of(deal, self.workers)
        work.idle -= set(self._team.opening.values())
        while work.is_left:
            self._hand_out(work)
            if not work.flights and not any(work.queues):
                yield from self._settle(work)
                continue
            waiting = [*work.flights, *self._team.opening]
            done, _ = ray.wait(waiting, num_returns=1, timeout=POLL_S)
            for future in done:
                if future in work.flights:
                    # A worker that ended fails all of its flights, and the first is to blame.
                    first = work.of_worker(work.flights[future].worker)[0]
                    yield from self._land(first, work)
                elif (worker := self._team.opened(future)) is not None:
                    work.idle.add(worker)
            self._kill_hung(work.flights)
            work.check()

    def _hand_out(self, work: ExchangeWork) -> None:
        for worker in sorted(work.idle):
            queue = work.queues[worker] or max(work.queues, key=_cost)
            if queue:
                work.idle.discard(worker)
                self._send(queue.popleft(), worker, work)
        for worker, queue in enumerate(work.queues):
            # One more, so that nobody waits while a reply is read.  A cheap one after a costly
            # one: nobody else can take it any more.
            if queue and len(busy := work.of_worker(worker)) == 1:
                is_cheap = queue[-1].cost < work.flights[busy[0]].chunk.cost
                self._send(queue.pop() if is_cheap else queue.popleft(), worker, work)

    def _send(self, chunk: Chunk, worker: int, work: ExchangeWork) -> None:
        used = sorted(set(chunk.content_of))
        local = replace(chunk, content_of=[used.index(k) for k in chunk.content_of])
        keep = chunk.summed and self._team.is_far(worker)
        future = self._team.actors[worker].run.remote(
            local, [work.refs[k] for k in used], self._exchanges if keep else None
        )
        work.flights[future] = PendingChunk(worker, chunk, time.monotonic(), keep)

    def _land(self, future: Any, work: ExchangeWork) -> Iterator[ChunkReply]:
        flight = work.flights.pop(future)
        try:
            reply: ChunkReply = ray.get(future)
        except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError):
            yield from self._handle_dead_worker(flight, work)
        except ray.exceptions.RayTaskError as error:
            raise RunError(f"a worker failed: {cause(error)}") from error
        else:
            if later := work.of_worker(flight.worker):
                work.flights[later[0]].since = time.monotonic()
            else:
                work.idle.add(flight.worker)
            for turn in reply.turns:
                self._deaths.pop(turn.client, None)  # it was beside the one that did it
            if flight.keep:
                work.finished[flight.worker].append((flight.chunk, reply))
            else:
                yield reply

    def _handle_dead_worker(self, flight: PendingChunk, work: ExchangeWork) -> Iterator[ChunkReply]:
        """Replace a dead worker and redo its work; set aside a client that killed two workers."""
        queue, node = work.queues[flight.worker], self._team.nodes[flight.worker]
        self._replace([flight.worker], work)
        if self._team.is_gone(node):  # nobody's turn did that
            queue.append(flight.chunk)
            self.notes.append(
                f"node {node[:8]} left, and worker {flight.worker} with it; "
                "the others do its work again, and it comes back where there is room"
            )
            return
        clients = flight.chunk.clients
        named = f"client {clients[0]}" if len(clients) == 1 else f"{len(clients)} clients"
        self.notes.append(
            f"worker {flight.worker} died while it ran {named}; "
            "it was replaced and the work is done again"
        )
        failed = ChunkReply()
        for part in flight.chunk.parts():
            if len(part.clients) > 1:  # stacked, and perhaps none of them did it
                queue.append(part)
                continue
            (client,) = part.clients
            self._deaths[client] = self._deaths.get(client, 0) + 1
            if self._deaths[client] >= MOST_DEATHS:
                self.set_aside[client] = "its training killed its worker twice"
                failed.turns.append(ReplyInfo(client, fault=self.set_aside[client]))
                self.notes.append(f"client {client} is set aside: {self.set_aside[client]}")
            else:
                queue.append(part)
        if failed.turns:
            yield failed

    def _replace(self, workers: Sequence[int], work: ExchangeWork) -> None:
        """Call others in the place of workers, and have done what they kept or had not begun."""
        self._team.replace(workers)
        for worker in workers:
            work.idle.discard(worker)
            work.queues[worker] += [
                work.flights.pop(future).chunk for future in work.of_worker(worker)
            ]
            work.queues[worker] += [chunk for chunk, _ in work.finished.pop(worker, ())]

    def _settle(self, work: ExchangeWork) -> Iterator[ChunkReply]:
        """Yield what was kept, with one sum for each node; a node that fails does it all again."""
        by_node: dict[str, list[int]] = defaultdict(list)
        for worker in sorted(work.finished):
            by_node[self._team.nodes[worker]].append(worker)
        sums = {}
        for first, *others in by_node.values():
            other_sums = [self._team.actors[worker].kept.remote() for worker in others]
            sums[self._team.actors[first].merged.remote(other_sums)] = [first, *others]
        for future, workers in sums.items():
            try:
                merged = ray.get(future)
            except ray.exceptions.RayError as error:
                if isinstance(error, ray.exceptions.RayTaskError) and not _is_loss(error):
                    raise RunError(f"a worker failed: {cause(error)}") from error
                self.notes.append(f"the sum of workers {workers} is lost and computed again")
                self._replace(workers, work)
                continue
            for worker in workers:
                yield from (reply for _, reply in work.finished.pop(worker))
            yield ChunkReply(summed=True, sums=merged)

    def _kill_hung(self, flights: dict[Any, PendingChunk]) -> None:
        if self._deadline is None:
            return
        busy = {flight.worker: flight for flight in reversed(flights.values())}  # with the first
        for flight in busy.values():
            if flight.chunk.phase == REFERENCE:
                continue
            limit = self._deadline * len(flight.chunk.clients) + GRACE_S
            if time.monotonic() - flight.since > limit:
                flight.since = time.monotonic()
                ray.kill(self._team.actors[flight.worker])

    def close(self) -> None:
        """End the workers, and Ray too if it was started here."""
        self._team.close()


def _is_loss(error: Any) -> bool:
    """Return whether a worker failed for another one that it asked."""
    return isinstance(error.cause, ray.exceptions.RayError)


def _cost(queue: deque[Chunk]) -> float:
    return sum(chunk.cost for chunk in queue)
