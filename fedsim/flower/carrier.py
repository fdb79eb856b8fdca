"""Carries an exchange of a round: tasks out as Flower messages, updates back, checked and summed.

The grid may be ours, whose hosts check every reply where it is made and hand back partial sums,
or any other Flower grid (real devices), whose replies are checked and summed here.  Both ways
give the same sums, bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedsim.aggregate import Sums
from fedsim.flower import codec
from fedsim.flower.arrays import count_bytes
from fedsim.flower.chunk import ChunkReply
from fedsim.flower.client_app import message_type
from fedsim.flower.devices import Answer, Devices
from fedsim.flower.grid import ChunkGrid, node_of
from fedsim.flower.host import Asked, blame, read
from fedsim.strategy import Strategy, Wanted, is_sum
from fedsim.wire import Broadcast, ClientId, ClientInfo, Merged, Stint, Turn, Update, Weights

__all__ = ["Carrier", "Exchange", "Gathered"]

Tasks = Iterable[tuple[ClientInfo, Broadcast]]


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

    def named(self, names: Mapping[ClientId, str]) -> Gathered:
        """Return the same with the device's name before each fault."""
        turns = [
            replace(turn, fault=f"{names[turn.client]}: {turn.fault}") if turn.fault else turn
            for turn in self.turns
        ]
        return replace(self, turns=turns)

    def sifted(self, strategy: Strategy, wanted: Wanted | None) -> Gathered:
        """Return the same without the updates that the strategy cannot use."""
        if wanted is None:
            return self
        faults = {update.client: _fault(update, strategy, wanted) for update in self.updates}
        turns = [replace(turn, fault=faults.get(turn.client) or turn.fault) for turn in self.turns]
        return replace(self, turns=turns, updates=[u for u in self.updates if not faults[u.client]])

    def merged(self, strategy: Strategy) -> Merged:
        """Return what the updates come to."""
        return self.sums.merged() if is_sum(strategy) else strategy.aggregate(self.updates)


def _fault(update: Update, strategy: Strategy, wanted: Wanted) -> str:
    try:
        return strategy.fault(update, wanted)
    except Exception as error:  # what cannot even be looked at is the client's fault
        return blame(error)


class Exchange:
    """One phase's messages to a cohort, and what its replies come to."""

    def __init__(self, number: int, phase: str, strategy: Strategy) -> None:
        self.asks: list[tuple[int, RecordDict]] = []
        """Who is sent what: the node's id, and a content that many of them share."""
        self.summed = phase in strategy.phases() and is_sum(strategy)
        """Whether the replies are added up, rather than kept one by one."""
        self._number, self._phase, self._strategy = number, phase, strategy
        self._encoder = codec.Encoder(number)
        self._asked: dict[int, ClientInfo] = {}  # who has not answered yet
        self._contents: dict[int, RecordDict] = {}  # and what it is sent; see answered
        self._shared: dict[int, tuple[int, Asked]] = {}  # of each content: its size, what it asks
        self._gathered = Gathered()

    def ask(self, node: int, info: ClientInfo, broadcast: Broadcast) -> None:
        """Add the message to one client, which is Flower's node ``node``."""
        content = self._encoder.content(broadcast)
        if id(content) not in self._shared:
            asked = Asked(self._phase, broadcast.weights, self._strategy, broadcast.settings)
            self._shared[id(content)] = count_bytes(content), asked
        self._gathered.bytes_down += self._shared[id(content)][0]
        self._asked[node] = info
        self.asks.append((node, content))

    @property
    def messages(self) -> list[Message]:
        """The messages that ask for it all."""
        kind, group = message_type(self._phase), str(self._number)
        return [Message(content, node, kind, group_id=group) for node, content in self.asks]

    def handed_over(self) -> list[tuple[int, RecordDict]]:
        """Return :attr:`asks`, which is not needed here any more, and forget it."""
        asks, self.asks = self.asks, []
        return asks

    def take(self, reply: Message) -> None:
        """Check one reply and use it; what is wrong with it is kept in the client's turn."""
        self.answered(reply.metadata.src_node_id, reply)

    def answered(self, node: int, reply: Answer) -> None:
        """Use what came of asking ``node``: a reply, or why there is none."""
        self._contents = self._contents or dict(self.asks)
        info, (_, asked) = self._asked.pop(node), self._shared[id(self._contents[node])]
        if isinstance(reply, str):  # why there is none
            update, turn = None, Turn(info.id, fault=reply)
        else:
            update, turn = read(reply, info, asked)
            if reply.has_content():
                turn = replace(turn, seconds=codec.seconds_of(reply.content))
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
        self._gathered.updates += reply.updates
        for turn in reply.turns:
            self._asked.pop(node_of(turn.client))

    def finish(self) -> Gathered:
        """Return what came back; who is still asked has not replied."""
        missing = [Turn(info.id, fault="no reply") for info in self._asked.values()]
        self._gathered.turns += missing
        self._gathered.turns.sort(key=lambda turn: turn.client)
        self._gathered.updates.sort(key=lambda update: update.client)
        return self._gathered


class Carrier:
    """The way from a strategy to its clients and back, round after round."""

    def __init__(self, grid: Grid | Devices, strategy: Strategy) -> None:
        """Use ``grid``; the nodes of one that is not ours are clients 0, 1, ... by their ids."""
        self._grid = grid
        self._strategy = strategy
        self._number = 0
        self._shifts: list[tuple[str, int, float, Sequence[Turn]]] = []
        self._nodes: list[int] = []
        if not isinstance(grid, ChunkGrid | Devices):
            self._nodes = sorted(grid.get_node_ids())

    def _node(self, client: ClientId) -> int:
        if isinstance(self._grid, Devices):
            return client  # it knows the nodes itself
        return self._nodes[client] if self._nodes else node_of(client)

    def exchange(self, number: int, phase: str, tasks: Tasks) -> Gathered:
        """Ask each client for ``phase`` of round ``number`` and return what came back."""
        exchange = Exchange(number, phase, self._strategy)
        if number != self._number:
            self._number, self._shifts = number, []
        for info, broadcast in tasks:
            exchange.ask(self._node(info.id), info, broadcast)
        if isinstance(self._grid, ChunkGrid):
            for chunk in self._grid.exchange(exchange.handed_over(), phase, exchange.summed):
                exchange.take_chunk(chunk)
                self._shifts.append((phase, chunk.worker, chunk.begun, chunk.turns))
        elif isinstance(self._grid, Devices):
            for client, answer in self._grid.answers(number, phase, exchange.asks):
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
    def stints(self) -> Iterator[Stint]:
        """When and where the clients worked since the last round began, where hosts are ours."""
        for phase, worker, at, turns in self._shifts:
            for turn in turns:
                yield Stint(phase, turn.client, worker, at, turn.seconds)
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
