"""A Flower Grid that sends messages in chunks to workers; the transport is left to subclasses."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedsim.flower import codec
from fedsim.flower.chunk import FIRST_NODE, Chunk, ChunkReply, Memory, node_of
from fedsim.flower.client_app import phase_of
from fedsim.flower.flwr_internals import Run, empty_run, identify, set_message_id
from fedsim.runtime.scheduling import Scheduler
from fedsim.wire import ClientId, ReplyInfo

__all__ = ["ChunkGrid", "Schedule"]

RUN_ID = 1

Asks = Sequence[tuple[int, RecordDict]]
"""Node ids, each with what it is sent."""


@dataclass(frozen=True)
class Schedule:
    """An exchange's tasks, dealt into chunks that share their contents."""

    chunks: Sequence[Chunk]
    contents: Sequence[RecordDict]


class ChunkGrid(Grid):
    """Everything of a grid but the way to the workers."""

    def __init__(self, clients: int, scheduler: Scheduler) -> None:
        """Make the grid of a run with so many clients."""
        self.workers = scheduler.workers
        self.states: dict[ClientId, Memory] = {}
        """What each client keeps between its turns; on real devices it stays there."""
        self.set_aside: dict[ClientId, str] = {}
        """Clients that are not asked again, with the reason."""
        self.notes: list[str] = []
        """What a user should know of the workers; whoever passes it on empties it."""
        self._told: set[str] = set()
        self._clients, self._scheduler = clients, scheduler
        self._run = empty_run(RUN_ID)
        self._pushed = 0
        self._waiting: dict[str, Message] = {}
        identify(RUN_ID)

    @abstractmethod
    def deliver(self, deal: Schedule) -> Iterator[ChunkReply]:
        """Yield what the workers make of each chunk, in any order."""

    @abstractmethod
    def close(self) -> None:
        """End the workers."""

    def exchange(self, requests: Asks, phase: str, summed: bool) -> Iterator[ChunkReply]:
        """Send ``requests`` and yield the replies chunk by chunk, states already put away."""
        turns: list[ReplyInfo] = []
        deal = self._deal(requests, phase, summed)
        del requests  # as long as the cohort
        for reply in self.deliver(deal):
            self.states.update(reply.states)
            turns += reply.turns
            new = [note for note in dict.fromkeys(reply.notes) if note not in self._told]
            self._told.update(new)
            self.notes += new
            yield reply
        self._scheduler.costs.learn(phase, turns)

    def _deal(self, requests: Asks, phase: str, summed: bool) -> Schedule:
        contents = {id(content): content for _, content in requests}
        number = {key: at for at, key in enumerate(contents)}
        whose = [(node - FIRST_NODE, number[id(content)]) for node, content in requests]
        chunks = []
        for home, groups in self._scheduler.chunks(phase, whose):
            clients = [client for group in groups for client in group.clients]
            chunk = Chunk(
                clients=clients,
                content_of=[group.content for group in groups for _ in group.clients],
                states={k: self.states[k] for k in clients if k in self.states},
                phase=phase,
                summed=summed,
                groups=[len(group.clients) for group in groups],
                home=home,
                cost=sum(group.cost for group in groups),
            )
            chunks.append(chunk)
        return Schedule(chunks, list(contents.values()))

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
        batch = list(messages)
        identifiers = []
        for message in batch:
            self._pushed += 1
            identifiers.append(f"{RUN_ID}-{self._pushed}")
            set_message_id(message, identifiers[-1])
        # A node that is sent two messages of a kind answers them one after the other.
        waves: dict[tuple[str, int], dict[int, Message]] = defaultdict(dict)
        counts: Counter[tuple[str, int]] = Counter()
        for message in batch:
            kind, node = message.metadata.message_type, message.metadata.dst_node_id
            waves[kind, counts[kind, node]][node] = message
            counts[kind, node] += 1
        for (kind, _), messages_of_wave in waves.items():
            requests = [(node, message.content) for node, message in messages_of_wave.items()]
            for reply in self.exchange(requests, phase_of(kind), summed=False):
                for update in reply.updates:
                    message = messages_of_wave[node_of(update.client)]
                    content = codec.update_records(update)
                    answer = Message(content, reply_to=message)
                    self._waiting[answer.metadata.reply_to_message_id] = answer
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
