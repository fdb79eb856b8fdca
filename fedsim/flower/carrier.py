"""Carries one exchange of a round: tasks out as Flower messages, updates back, checked and summed.

The grid may be ours, which hands back partial sums, or any other Flower grid (real devices),
whose replies are checked and summed here.  Both ways give the same sums, bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.serverapp import Grid

from fedsim.aggregate import Sums
from fedsim.flower import codec
from fedsim.flower.client_app import message_type
from fedsim.flower.grid import ChunkGrid, node_of
from fedsim.flower.host import Asked, read
from fedsim.strategy import Strategy, is_sum
from fedsim.wire import Broadcast, ClientInfo, Merged, Turn, Update

__all__ = ["Carrier", "Gathered"]


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


class Carrier:
    """The way from a strategy to its clients and back."""

    def __init__(self, grid: Grid, strategy: Strategy) -> None:
        """Take ``grid``'s nodes, in the order of their ids, as clients 0, 1, 2, ..."""
        self.grid = grid
        self._strategy = strategy
        self._nodes = None if isinstance(grid, ChunkGrid) else sorted(grid.get_node_ids())

    def exchange(
        self, number: int, phase: str, tasks: Sequence[tuple[ClientInfo, Broadcast]]
    ) -> Gathered:
        """Ask each client for ``phase`` of round ``number`` and return what came back."""
        encoder = codec.Encoder(number)
        gathered, messages = Gathered(), []
        sent: dict[int, tuple[ClientInfo, Asked]] = {}
        sizes: dict[int, int] = {}
        for info, broadcast in tasks:
            content = encoder.content(broadcast)
            if id(content) not in sizes:
                sizes[id(content)] = codec.count_bytes(content)
            gathered.bytes_down += sizes[id(content)]
            node = node_of(info.id) if self._nodes is None else self._nodes[info.id]
            sent[node] = info, Asked(phase, broadcast.weights, self._strategy)
            messages.append(Message(content, node, message_type(phase), group_id=str(number)))
        if isinstance(self.grid, ChunkGrid):
            self._through_chunks(self.grid, messages, phase, sent, gathered)
        else:
            for reply in self.grid.send_and_receive(messages):
                self._take(reply, *sent.pop(reply.metadata.src_node_id), gathered)
            gathered.turns += [Turn(info.id, fault="no reply") for info, _ in sent.values()]
        gathered.turns.sort(key=lambda turn: turn.client)
        gathered.updates.sort(key=lambda update: update.client)
        return gathered

    def _through_chunks(
        self,
        grid: ChunkGrid,
        messages: Sequence[Message],
        phase: str,
        sent: dict[int, tuple[ClientInfo, Asked]],
        gathered: Gathered,
    ) -> None:
        """Send through our own grid, whose hosts check every reply where it is made."""
        summed = phase in self._strategy.phases() and is_sum(self._strategy)
        for reply in grid.exchange(messages, phase, summed):
            gathered.turns += reply.turns
            gathered.sums.merge(reply.sums)
            gathered.updates += [
                codec.update_of(message, sent[message.metadata.src_node_id][0].id)
                for message in reply.replies
            ]

    def _take(self, reply: Message, info: ClientInfo, asked: Asked, gathered: Gathered) -> None:
        update, turn = read(reply, info, asked)
        gathered.turns.append(turn)
        if update is not None and asked.phase in self._strategy.phases() and is_sum(self._strategy):
            gathered.sums.add(info.id, self._strategy.addends(update))
        elif update is not None:
            gathered.updates.append(update)
