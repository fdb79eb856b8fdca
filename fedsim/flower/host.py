"""What lives where clients run: one ClientApp, through which a chunk of clients takes its turns."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from flwr.app import Context, Error, Message, RecordDict

from fedsim.aggregate import Sums
from fedsim.check import fault_of
from fedsim.data.federated import FederatedData
from fedsim.flower import codec
from fedsim.flower.arrays import count_bytes, settled
from fedsim.flower.client_app import CLIENT_KEY, EVALUATE, REFERENCE, make_client_app
from fedsim.flower.limit import OutOfTime, time_limit
from fedsim.flower.parts import client_of, strategy_of
from fedsim.privacy.guarded import Guarded
from fedsim.scenario.schema import Scenario
from fedsim.strategy import Strategy
from fedsim.wire import Addend, ClientId, ClientInfo, Setting, Turn, Update, Weights
from fedsim.worker import Worker

__all__ = ["Asked", "Chunk", "ChunkReply", "Host", "blame", "node_client", "read"]

CLIENT_FAILED = 2  # Flower's error code for an exception in a ClientApp


@dataclass(frozen=True)
class Chunk:
    """Several clients' messages on their way to one worker."""

    messages: Sequence[Message]
    """Without their contents, which many of them share."""
    content_of: Sequence[int]
    """Which of the contents each message carries."""
    states: Mapping[ClientId, RecordDict]
    """What each client kept from its last turn."""
    phase: str
    summed: bool
    """Whether a partial sum should come back in place of whole replies."""

    @property
    def clients(self) -> list[ClientId]:
        """Whose messages these are."""
        return [node_client(message) for message in self.messages]

    def alone(self, position: int) -> Chunk:
        """Return the chunk of one of the clients, for another try."""
        message = self.messages[position]
        message.content = RecordDict()
        return replace(self, messages=[message], content_of=[self.content_of[position]])


@dataclass
class ChunkReply:
    """What one worker made of a chunk."""

    turns: list[Turn] = field(default_factory=list)
    replies: list[Message] = field(default_factory=list)
    """Whole replies, in the order of the messages; empty where ``sums`` holds their sum."""
    sums: Sums = field(default_factory=Sums)
    states: dict[ClientId, RecordDict] = field(default_factory=dict)


FIRST_NODE = 1_000_000


def node_client(message: Message) -> ClientId:
    """Return whom a message is for.  Node ids are client numbers, shifted past Flower's own."""
    return message.metadata.dst_node_id - FIRST_NODE


class Host:
    """One worker's share of a run: the data, the client app, the strategy's addends."""

    def __init__(self, scenario: Scenario, store: Path, device: str = "cpu") -> None:
        # One thread a worker: as many workers as cores beat threads on small batches, and a
        # float sum split over threads would depend on their number.
        torch.set_num_threads(1)
        if device != "cpu":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        self.strategy = strategy_of(scenario)
        self.worker = Worker(
            scenario, FederatedData.open(store), client_of(scenario, self.strategy), device
        )
        self._decoder = codec.Decoder()
        self._app = make_client_app(self.worker, self.strategy.phases(), self._decoder)
        self._deadline = scenario.clients.deadline_s

    def run(self, chunk: Chunk, contents: Sequence[RecordDict]) -> ChunkReply:
        """Let each client of ``chunk`` take its turn; one that fails harms no other."""
        out = ChunkReply()
        for shell, which in zip(chunk.messages, chunk.content_of, strict=True):
            self._turn(chunk, shell, contents[which], out)
        return out

    def _turn(self, chunk: Chunk, shell: Message, content: RecordDict, out: ChunkReply) -> None:
        client = node_client(shell)
        shell.content = content
        state = chunk.states.get(client)
        context = Context(
            run_id=shell.metadata.run_id,
            node_id=shell.metadata.dst_node_id,
            node_config={CLIENT_KEY: client},
            state=RecordDict() if state is None else RecordDict(dict(state)),
            run_config={},
        )
        start = time.perf_counter()
        try:
            # A reference is many rounds of work in one turn.
            with time_limit(None if chunk.phase == REFERENCE else self._deadline):
                reply = self._app(shell, context)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit and OutOfTime too: an error reply, no raise
            reply = Message(Error(CLIENT_FAILED, blame(error)), reply_to=shell)
        seconds = time.perf_counter() - start
        turn = replace(self._take(chunk, client, content, reply, out), seconds=seconds)
        out.turns.append(turn)
        if not turn.fault and context.state:
            out.states[client] = settled(context.state)

    def _take(
        self, chunk: Chunk, client: ClientId, content: RecordDict, reply: Message, out: ChunkReply
    ) -> Turn:
        info = self.worker.data.clients[client]
        sent = self._decoder.broadcast(content)
        asked = Asked(chunk.phase, sent.weights, self.strategy, sent.settings)
        update, turn = read(reply, info, asked)
        if update is not None and chunk.summed:
            try:
                out.sums.add(client, asked.addends(update))
            except Exception as error:  # what cannot be summed is the client's fault
                return replace(turn, fault=blame(error))
        elif update is not None:
            # Kept for later, when the model that its tensors may share is another client's.
            reply.content = settled(reply.content)
            out.replies.append(reply)
        return turn


@dataclass(frozen=True)
class Asked:
    """What a client was asked, as far as its reply is held against it."""

    phase: str
    weights: Weights
    strategy: Strategy
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def addends(self, update: Update) -> Mapping[str, Addend]:
        """Return what an update adds to the sums; clipped to what was asked, under privacy."""
        if isinstance(self.strategy, Guarded):
            return self.strategy.clipped(update, self.settings)
        return self.strategy.addends(update)

    def fault(self, update: Update, client: ClientInfo) -> str:
        """Return what is wrong with an update; empty if nothing is."""
        if self.phase in (EVALUATE, REFERENCE):
            return ""
        wants_delta = self.phase in self.strategy.deltas
        return fault_of(update, client, self.weights, wants_delta) or ""


def read(reply: Message, client: ClientInfo, asked: Asked) -> tuple[Update | None, Turn]:
    """Return the update that a reply carries, or None and, in the turn, what is wrong with it."""
    if reply.has_error():
        return None, Turn(client.id, fault=reply.error.reason or "an error without a reason")
    size = count_bytes(reply.content)
    try:
        update = codec.update_of(reply, client.id)
    except Exception as error:  # any malformed content: the client's fault, never the run's end
        return None, Turn(client.id, bytes_up=size, fault=f"unreadable reply: {error}")
    fault = asked.fault(update, client)
    turn = Turn(client.id, update.examples, update.metrics, bytes_up=size, fault=fault)
    return (None if fault else update), turn


def blame(error: BaseException) -> str:
    """Return an error as one line that names the deepest place in code that is not a library's.

    >>> blame(ValueError("boom"))
    'ValueError: boom'
    """
    if isinstance(error, OutOfTime):
        return str(error)
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and "fedsim/flower/" not in frame.filename
    ]
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"
