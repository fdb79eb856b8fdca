"""Carries an exchange of a round: tasks out as Flower messages, updates back, checked and summed.

The grid may be ours, whose hosts check every reply where it is made and hand back partial sums,
or any other Flower grid (real devices), whose replies are checked and summed here.  Both ways
give the same sums, bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flwr.app import Message
from flwr.serverapp import Grid

from fedsim.aggregate import Sums
from fedsim.flower import codec
from fedsim.flower.arrays import count_bytes
from fedsim.flower.client_app import message_type
from fedsim.flower.grid import ChunkGrid, node_of
from fedsim.flower.host import Asked, ChunkReply, blame, read
from fedsim.strategy import Strategy, is_sum
from fedsim.wire import Broadcast, ClientId, ClientInfo, Merged, Turn, Update, Weights

__all__ = ["Carrier", "Exchange", "Gathered"]

Tasks = Sequence[tuple[ClientInfo, Broadcast]]


@dataclass
class Gathered:
    """What came back from an exchange."""

    turns: list[Turn] = field(default_factory=list)
    """One per client that was asked, in ascending order, the failed ones too."""
    updates: list[Update] = field(default_factory=list)
    """In ascending order of client; empty where ``sums`` holds their sum."""
    sums: Sums = field(default_factory=Sums)
    bytes_down: int = 0

    @property
    def bytes_up(self) -> int:
        """What the clients sent, in bytes."""
        return sum(turn.bytes_up for turn in self.turns)

    def merged(self, strategy: Strategy) -> Merged:
        """Return what the updates come to."""
        return self.sums.merged() if is_sum(strategy) else strategy.aggregate(self.updates)


class Exchange:
    """One phase's messages to a cohort, and what its replies come to."""

    def __init__(self, number: int, phase: str, strategy: Strategy) -> None:
        self.messages: list[Message] = []
        self.summed = phase in strategy.phases() and is_sum(strategy)
        """Whether the replies are added up, rather than kept one by one."""
        self._number, self._phase, self._strategy = number, phase, strategy
        self._encoder = codec.Encoder(number)
        self._asked: dict[int, tuple[ClientInfo, Asked]] = {}
        self._sizes: dict[int, int] = {}
        self._gathered = Gathered()

    def ask(self, node: int, info: ClientInfo, broadcast: Broadcast) -> None:
        """Add the message to one client, which is Flower's node ``node``."""
        content = self._encoder.content(broadcast)
        if id(content) not in self._sizes:
            self._sizes[id(content)] = count_bytes(content)
        self._gathered.bytes_down += self._sizes[id(content)]
        asked = Asked(self._phase, broadcast.weights, self._strategy, broadcast.settings)
        self._asked[node] = info, asked
        kind, group = message_type(self._phase), str(self._number)
        self.messages.append(Message(content, node, kind, group_id=group))

    def take(self, reply: Message) -> None:
        """Check one reply and use it; what is wrong with it is kept in the client's turn."""
        info, asked = self._asked.pop(reply.metadata.src_node_id)
        update, turn = read(reply, info, asked)
        if update is not None and self.summed:
            try:
                self._gathered.sums.add(info.id, asked.addends(update))
            except Exception as error:  # what cannot be summed is the client's fault
                turn = replace(turn, fault=blame(error))
        elif update is not None:
            self._gathered.updates.append(update)
        self._gathered.turns.append(turn)

    def take_chunk(self, reply: ChunkReply) -> None:
        """Use what one of our hosts made of a chunk: its replies are checked already."""
        self._gathered.turns += reply.turns
        self._gathered.sums.merge(reply.sums)
        for message in reply.replies:
            info, _ = self._asked[message.metadata.src_node_id]
            self._gathered.updates.append(codec.update_of(message, info.id))
        for turn in reply.turns:
            self._asked.pop(node_of(turn.client))

    def finish(self) -> Gathered:
        """Return what came back; who is still asked has not replied."""
        missing = [Turn(info.id, fault="no reply") for info, _ in self._asked.values()]
        self._gathered.turns += missing
        self._gathered.turns.sort(key=lambda turn: turn.client)
        self._gathered.updates.sort(key=lambda update: update.client)
        return self._gathered


class Carrier:
    """The way from a strategy to its clients and back, round after round."""

    def __init__(self, grid: Grid, strategy: Strategy) -> None:
        """Use ``grid``; the nodes of one that is not ours are clients 0, 1, ... by their ids."""
        self._grid = grid
        self._strategy = strategy
        self._nodes = [] if isinstance(grid, ChunkGrid) else sorted(grid.get_node_ids())

    def exchange(self, number: int, phase: str, tasks: Tasks) -> Gathered:
        """Ask each client for ``phase`` of round ``number`` and return what came back."""
        exchange = Exchange(number, phase, self._strategy)
        for info, broadcast in tasks:
            node = self._nodes[info.id] if self._nodes else node_of(info.id)
            exchange.ask(node, info, broadcast)
        if isinstance(self._grid, ChunkGrid):
            for chunk in self._grid.exchange(exchange.messages, phase, exchange.summed):
                exchange.take_chunk(chunk)
        else:
            for reply in self._grid.send_and_receive(exchange.messages):
                exchange.take(reply)
        return exchange.finish()

    @property
    def ours(self) -> bool:
        """Whether the clients are simulated on a grid of ours."""
        return isinstance(self._grid, ChunkGrid)

    @property
    def workers(self) -> int:
        """How many clients run side by side."""
        return self._grid.workers if isinstance(self._grid, ChunkGrid) else len(self._nodes)

    @property
    def memories(self) -> dict[ClientId, dict[str, Weights]]:
        """What each simulated client keeps between its turns; real devices keep it themselves."""
        states = self._grid.states if isinstance(self._grid, ChunkGrid) else {}
        return {client: codec.memory_of(state) for client, state in states.items()}

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
                self._grid.states[client] = codec.memory_records(memory)
            self._grid.set_aside.update(set_aside)

    def take_notes(self) -> list[str]:
        """Return, once, what a user should know of the workers."""
        if not isinstance(self._grid, ChunkGrid):
            return []
        notes, self._grid.notes = self._grid.notes, []
        return notes
