"""A Flower Grid that deals messages in chunks to workers; how a chunk gets there is left open."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedsim.flower.client_app import phase_of
from fedsim.flower.host import FIRST_NODE, Chunk, ChunkReply, node_client
from fedsim.flower.private import Run, empty_run, identify, set_message_id
from fedsim.wire import ClientId

__all__ = ["ChunkGrid", "Deal", "node_of"]

RUN_ID = 1


def node_of(client: ClientId) -> int:
    """Return the Flower node id of a simulated client: the same in every run."""
    return FIRST_NODE + client


@dataclass(frozen=True)
class Deal:
    """An exchange's messages, dealt into chunks that share their contents."""

    chunks: Sequence[Chunk]
    contents: Sequence[RecordDict]


class ChunkGrid(Grid):
    """Everything of a grid but the way to the workers."""

    def __init__(self, clients: int, workers: int, chunk: int | None) -> None:
        """Make the grid of a run.

        Args:
            clients: how many there are.
            workers: how many take chunks side by side.
            chunk: clients per chunk; None for four chunks a worker and exchange.
        """
        self.workers = workers
        self.states: dict[ClientId, RecordDict] = {}
        """What each client keeps between its turns; on real devices it stays there."""
        self.set_aside: dict[ClientId, str] = {}
        """Clients that are not asked again, with the reason."""
        self.notes: list[str] = []
        """What a user should know of the workers; whoever passes it on empties it."""
        self._clients, self._chunk = clients, chunk
        self._run = empty_run(RUN_ID)
        self._pushed = 0
        self._waiting: dict[str, Message] = {}
        identify(RUN_ID)

    @abstractmethod
    def deliver(self, deal: Deal) -> Iterator[ChunkReply]:
        """Yield what the workers make of each chunk, in any order."""

    @abstractmethod
    def close(self) -> None:
        """End the workers."""

    def exchange(
        self, messages: Sequence[Message], phase: str, summed: bool
    ) -> Iterator[ChunkReply]:
        """Send ``messages`` and yield the replies chunk by chunk, states already put away."""
        for reply in self.deliver(self._deal(messages, phase, summed)):
            self.states.update(reply.states)
            yield reply

    def _deal(self, messages: Sequence[Message], phase: str, summed: bool) -> Deal:
        contents: dict[int, int] = {}
        kept: list[RecordDict] = []
        by_home: dict[int, list[Message]] = defaultdict(list)
        for message in messages:
            if id(message.content) not in contents:
                contents[id(message.content)] = len(kept)
                kept.append(message.content)
            by_home[node_client(message) % self.workers].append(message)
        size = self._chunk or max(1, -(-len(messages) // (4 * self.workers)))
        chunks = [
            self._chunk_of(home[start : start + size], contents, phase, summed)
            for home in by_home.values()
            for start in range(0, len(home), size)
        ]
        return Deal(chunks, kept)

    def _chunk_of(
        self, messages: Sequence[Message], contents: dict[int, int], phase: str, summed: bool
    ) -> Chunk:
        shells = []
        for message in messages:
            shell = copy.copy(message)
            shell.content = RecordDict()
            shells.append(shell)
        clients = [node_client(message) for message in messages]
        return Chunk(
            messages=shells,
            content_of=[contents[id(message.content)] for message in messages],
            states={client: self.states[client] for client in clients if client in self.states},
            phase=phase,
            summed=summed,
        )

    # What Flower asks of a grid, so that its own strategies and ServerApps run on this one.

    def set_run(self, run: Run) -> None:
        """Set the run's description."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run's description."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message to one node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the ids of all nodes, in the order of the clients' numbers."""
        return [node_of(client) for client in range(self._clients)]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages, wait for the replies, and return the ids to pull them by."""
        sent = list(messages)
        identifiers = []
        for message in sent:
            self._pushed += 1
            identifiers.append(f"{RUN_ID}-{self._pushed}")
            set_message_id(message, identifiers[-1])
        for kind in dict.fromkeys(message.metadata.message_type for message in sent):
            same = [message for message in sent if message.metadata.message_type == kind]
            for reply in self.exchange(same, phase_of(kind), summed=False):
                for message in reply.replies:
                    self._waiting[message.metadata.reply_to_message_id] = message
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that came, each once."""
        return [self._waiting.pop(name) for name in message_ids if name in self._waiting]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Return the replies in the order of the messages.

        ``timeout`` is not used: a turn's limit is the scenario's ``clients.deadline_s``.
        """
        return self.pull_messages(self.push_messages(messages))
