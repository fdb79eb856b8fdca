"""Carries an exchange of a round: tasks out as Flower messages, updates back, checked and summed.

The grid may be ours, whose hosts check every reply where it is made and hand back partial sums,
or any other Flower grid (real devices), whose replies are checked and summed here.  Both ways
give the same sums, bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from flwr.serverapp import Grid

from fedsim.flower.chunk import node_of
from fedsim.flower.devices import Devices
from fedsim.flower.exchange import Exchange, Replies
from fedsim.runtime.grid import ChunkGrid
from fedsim.strategy import Strategy
from fedsim.wire import Broadcast, ClientId, ClientInfo, ReplyInfo, TraceEntry, Weights

__all__ = ["Transport"]

Tasks = Iterable[tuple[ClientInfo, Broadcast]]


class Transport:
    """The way from a strategy to its clients and back, round after round."""

    def __init__(self, grid: Grid | Devices, strategy: Strategy) -> None:
        """Use ``grid``; the nodes of one that is not ours are clients 0, 1, ... by their ids."""
        self._grid = grid
        self._strategy = strategy
        self._number = 0
        self._shifts: list[tuple[str, int, float, Sequence[ReplyInfo]]] = []
        self._nodes: list[int] = []
        if not isinstance(grid, ChunkGrid | Devices):
            self._nodes = sorted(grid.get_node_ids())

    def _node(self, client: ClientId) -> int:
        if isinstance(self._grid, Devices):
            return client  # it knows the nodes itself
        return self._nodes[client] if self._nodes else node_of(client)

    def exchange(self, number: int, phase: str, instructions: Tasks) -> Replies:
        """Ask each client for ``phase`` of round ``number`` and return what came back."""
        exchange = Exchange(number, phase, self._strategy)
        if number != self._number:
            self._number, self._shifts = number, []
        for info, broadcast in instructions:
            exchange.ask(self._node(info.id), info, broadcast)
        if isinstance(self._grid, ChunkGrid):
            for chunk in self._grid.exchange(exchange.handed_over(), phase, exchange.summed):
                exchange.take_chunk(chunk)
                self._shifts.append((phase, chunk.worker, chunk.begun, chunk.turns))
        elif isinstance(self._grid, Devices):
            for client, answer in self._grid.answers(number, phase, exchange.requests):
                exchange.answered(client, answer)
            return exchange.finish().named(self._grid.names)
        else:
            for reply in self._grid.send_and_receive(exchange.messages):
                exchange.take(reply)
        return exchange.finish()

    @property
    def ours(self) -> bool:
        """Whether the clients are simulated on a grid of ours."""
        return isinstance(self._grid, ChunkGrid)

    @property
    def is_real(self) -> bool:
        """Whether the clients are devices."""
        return isinstance(self._grid, Devices)

    @property
    def workers(self) -> int:
        """How many clients run side by side."""
        if isinstance(self._grid, Devices):
            return len(self._grid.names)
        return self._grid.workers if isinstance(self._grid, ChunkGrid) else len(self._nodes)

    @property
    def trace(self) -> Iterator[TraceEntry]:
        """When and where the clients worked since the last round began, where hosts are ours."""
        for phase, worker, at, turns in self._shifts:
            for turn in turns:
                yield TraceEntry(phase, turn.client, worker, at, turn.seconds)
                at += turn.seconds

    @property
    def memories(self) -> dict[ClientId, dict[str, Weights]]:
        """What each simulated client keeps between its turns; real devices keep it themselves."""
        states = self._grid.states if isinstance(self._grid, ChunkGrid) else {}
        return {client: dict(state) for client, state in states.items()}

    @property
    def set_aside(self) -> dict[ClientId, str]:
        """The clients that are not asked any more, with the reason."""
        return self._grid.set_aside if isinstance(self._grid, ChunkGrid) else {}

    def restore(
        self,
        memories: Mapping[ClientId, Mapping[str, Weights]],
        set_aside: Mapping[ClientId, str],
    ) -> None:
        """Put back what a checkpoint kept of the clients."""
        if isinstance(self._grid, ChunkGrid):
            for client, memory in memories.items():
                self._grid.states[client] = memory
            self._grid.set_aside.update(set_aside)

    def take_notes(self) -> list[str]:
        """Return, once, what a user should know of the workers."""
        if not isinstance(self._grid, ChunkGrid):
            return []
        notes, self._grid.notes = self._grid.notes, []
        return notes
