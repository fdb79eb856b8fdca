"""One exchange of a round: messages to a cohort, and what its checked replies come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flwr.app import Message, RecordDict

from fedsim.aggregate import Sums
from fedsim.flower import codec
from fedsim.flower.arrays import count_bytes
from fedsim.flower.chunk import ChunkReply, node_of
from fedsim.flower.client_app import message_type
from fedsim.flower.devices import Answer
from fedsim.flower.replies import Asked, read
from fedsim.strategy import ReplySpec, Strategy, is_sum
from fedsim.wire import Broadcast, ClientId, ClientInfo, Merged, ReplyInfo, Update
from fedsim.worker.exception_text import describe_exception

__all__ = ["Exchange", "Replies"]


@dataclass
class Replies:
    """What came back from an exchange."""

    turns: list[ReplyInfo] = field(default_factory=list)
    """One per client that was asked, in ascending order, the failed ones too."""
    updates: list[Update] = field(default_factory=list)
    """In ascending order of client; empty where ``sums`` holds their sum."""
    sums: Sums = field(default_factory=Sums)
    bytes_down: int = 0

    @property
    def bytes_up(self) -> int:
        """What the clients sent, in bytes."""
        return sum(turn.bytes_up for turn in self.turns)

    def named(self, names: Mapping[ClientId, str]) -> Replies:
        """Return the same with the device's name before each fault."""
        turns = [
            replace(turn, fault=f"{names[turn.client]}: {turn.fault}") if turn.fault else turn
            for turn in self.turns
        ]
        return replace(self, turns=turns)

    def sifted(self, strategy: Strategy, spec: ReplySpec | None) -> Replies:
        """Return the same without the updates that the strategy cannot use."""
        if spec is None:
            return self
        faults = {update.client: _fault(update, strategy, spec) for update in self.updates}
        turns = [replace(turn, fault=faults.get(turn.client) or turn.fault) for turn in self.turns]
        return replace(self, turns=turns, updates=[u for u in self.updates if not faults[u.client]])

    def merged(self, strategy: Strategy) -> Merged:
        """Return what the updates come to."""
        return self.sums.merged() if is_sum(strategy) else strategy.aggregate(self.updates)


def _fault(update: Update, strategy: Strategy, spec: ReplySpec) -> str:
    try:
        return strategy.fault(update, spec)
    except Exception as error:  # what cannot even be looked at is the client's fault
        return describe_exception(error)


class Exchange:
    """One phase's messages to a cohort, and what its replies come to."""

    def __init__(self, number: int, phase: str, strategy: Strategy) -> None:
        self.requests: list[tuple[int, RecordDict]] = []
        """Who is sent what: the node's id, and a content that many of them share."""
        self.summed = phase in strategy.phases() and is_sum(strategy)
        """Whether the replies are added up, rather than kept one by one."""
        self._number, self._phase, self._strategy = number, phase, strategy
        self._encoder = codec.Encoder(number)
        self._asked: dict[int, ClientInfo] = {}  # who has not answered yet
        self._contents: dict[int, RecordDict] = {}  # and what it is sent; see answered
        self._shared: dict[int, tuple[int, Asked]] = {}  # of each content: its size, what it asks
        self._gathered = Replies()

    def ask(self, node: int, info: ClientInfo, broadcast: Broadcast) -> None:
        """Add the message to one client, which is Flower's node ``node``."""
        content = self._encoder.content(broadcast)
        if id(content) not in self._shared:
            request = Asked(self._phase, broadcast.weights, self._strategy, broadcast.settings)
            self._shared[id(content)] = count_bytes(content), request
        self._gathered.bytes_down += self._shared[id(content)][0]
        self._asked[node] = info
        self.requests.append((node, content))

    @property
    def messages(self) -> list[Message]:
        """The messages that ask for it all."""
        kind, group = message_type(self._phase), str(self._number)
        return [Message(content, node, kind, group_id=group) for node, content in self.requests]

    def handed_over(self) -> list[tuple[int, RecordDict]]:
        """Return :attr:`requests`, which is not needed here any more, and forget it."""
        requests, self.requests = self.requests, []
        return requests

    def take(self, reply: Message) -> None:
        """Check one reply and use it; what is wrong with it is kept in the client's turn."""
        self.answered(reply.metadata.src_node_id, reply)

    def answered(self, node: int, reply: Answer) -> None:
        """Use what came of asking ``node``: a reply, or why there is none."""
        self._contents = self._contents or dict(self.requests)
        info, (_, request) = self._asked.pop(node), self._shared[id(self._contents[node])]
        if isinstance(reply, str):  # why there is none
            update, turn = None, ReplyInfo(info.id, fault=reply)
        else:
            update, turn = read(reply, info, request)
            if reply.has_content():
                turn = replace(turn, seconds=codec.seconds_of(reply.content))
        if update is not None and self.summed:
            try:
                self._gathered.sums.add(info.id, request.addends(update, info))
            except Exception as error:  # what cannot be summed is the client's fault
                turn = replace(turn, fault=describe_exception(error))
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

    def finish(self) -> Replies:
        """Return what came back; who is still asked has not replied."""
        absent = [ReplyInfo(info.id, fault="no reply") for info in self._asked.values()]
        self._gathered.turns += absent
        self._gathered.turns.sort(key=lambda turn: turn.client)
        self._gathered.updates.sort(key=lambda update: update.client)
        return self._gathered
