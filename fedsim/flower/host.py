"""What lives where clients run: one ClientApp, through which a chunk of clients takes its turns."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from flwr.app import Message, RecordDict

from fedsim.check import fault_of
from fedsim.data.federated import FederatedData
from fedsim.flower import codec
from fedsim.flower.arrays import count_bytes, plain_bytes
from fedsim.flower.chunk import Chunk, ChunkReply, Memory
from fedsim.flower.client_app import DESCRIBE, EVALUATE, REFERENCE, verbs_of
from fedsim.flower.limit import OutOfTime, time_limit
from fedsim.flower.parts import client_of, strategy_of
from fedsim.privacy.guarded import Guarded
from fedsim.scenario.schema import Scenario
from fedsim.strategy import Strategy
from fedsim.wire import Addend, ClientId, ClientInfo, Setting, Task, Turn, Update, Weights
from fedsim.worker import Worker

__all__ = ["Asked", "Host", "blame", "read"]


class Host:
    """One worker's share of a run: the data, what clients do, the strategy's addends."""

    def __init__(self, scenario: Scenario, store: Path, device: str = "cpu") -> None:
        # One thread a worker: as many workers as cores beat threads on small batches, and a
        # float sum split over threads would depend on their number.
        torch.set_num_threads(1)
        if device != "cpu":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        self.strategy = strategy_of(scenario)
        self.worker = Worker(
            scenario,
            FederatedData.open(store),
            client_of(scenario, self.strategy),
            device,
            compiled=scenario.compute.compile == "on",
        )
        self._decoder = codec.Decoder()
        self._verbs = verbs_of(self.worker, self.strategy.phases())
        self._deadline = scenario.clients.deadline_s

    def run(self, chunk: Chunk, contents: Sequence[RecordDict]) -> ChunkReply:
        """Let each client of ``chunk`` take its turn; one that fails harms no other."""
        out, first = ChunkReply(chunk.summed), 0
        for size in chunk.groups:
            clients = chunk.clients[first : first + size]
            sent = contents[chunk.content_of[first]]
            first += size
            if size == 1 or not self._together(chunk, clients, sent, out):
                for client in clients:
                    self._turn(chunk, client, sent, out)
        out.notes, self.worker.notes = self.worker.notes, []
        return out

    def _turn(self, chunk: Chunk, client: ClientId, content: RecordDict, out: ChunkReply) -> None:
        number, sent = self._decoder.opened(content)
        asked = Asked(chunk.phase, sent.weights, self.strategy, sent.settings, chunk.summed)
        start = time.perf_counter()
        try:
            # A reference is many rounds of work in one turn.
            with time_limit(None if chunk.phase == REFERENCE else self._deadline):
                memory = _own(chunk.states.get(client, {}))
                update = self._verbs[chunk.phase](number, client, sent, memory)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit and OutOfTime too: a fault, no raise
            seconds = time.perf_counter() - start
            out.turns.append(Turn(client, seconds=seconds, fault=blame(error)))
            return
        seconds = time.perf_counter() - start
        if update.memory is memory:
            update = replace(update, memory={})
        _take(self.worker.data.clients[client], update, asked, seconds, out)

    def _together(
        self, chunk: Chunk, clients: Sequence[ClientId], content: RecordDict, out: ChunkReply
    ) -> bool:
        """Let ``clients`` take one turn in the same steps; False, and nothing done, if it fails.

        Whose fault it is shows when they take their turns one by one.
        """
        if not self.worker.has_together(chunk.phase):
            return False
        number, sent = self._decoder.opened(content)
        asked = Asked(chunk.phase, sent.weights, self.strategy, sent.settings, chunk.summed)
        infos = [self.worker.data.clients[client] for client in clients]
        limit = None if self._deadline is None else self._deadline * len(infos)
        start = time.perf_counter()
        try:
            with time_limit(limit):
                tasks = [
                    Task(number, chunk.phase, info, sent, _own(chunk.states.get(info.id, {})))
                    for info in infos
                ]
                updates = self.worker.turns(tasks)
        except KeyboardInterrupt:
            raise
        except BaseException:
            return False
        seconds = (time.perf_counter() - start) / len(infos)
        for info, update in zip(infos, updates, strict=True):
            _take(info, update, asked, seconds, out)
        return True


def _take(info: ClientInfo, update: Update, asked: Asked, seconds: float, out: ChunkReply) -> None:
    """Check an update and put it, or what it adds, to what goes back."""
    try:
        got, turn = taken(update, info, asked, seconds)
        kept = kept_of(update.memory)
    except Exception as error:  # what cannot be encoded is the client's fault
        got, turn, kept = None, Turn(info.id, seconds=seconds, fault=blame(error)), {}
    if got is not None and out.summed:
        try:
            out.sums.add(info.id, asked.addends(got))
        except Exception as error:  # and so is what cannot be summed
            fault = replace(asked, summed=False).fault(got, info)
            turn = replace(turn, fault=fault or blame(error))
    elif got is not None:
        # Kept for later, when the model that its tensors may share is another client's.
        out.updates.append(replace(got, delta=_cut(got.delta), extras=_own(got.extras)))
    out.turns.append(turn)
    if kept and not turn.fault:
        out.states[info.id] = kept


def _cut(weights: Weights) -> Weights:
    return {name: tensor.clone() for name, tensor in weights.items()}


def _own(memory: Memory) -> dict[str, Weights]:
    return {name: _cut(weights) for name, weights in memory.items()}


def kept_of(memory: Memory) -> dict[str, Weights]:
    """Return what a client keeps, as if it had gone through the state of a Flower context."""
    if all(plain_bytes(weights) is not None for weights in memory.values()):
        return _own(memory)
    return codec.memory_of(codec.memory_records(memory))


@dataclass(frozen=True)
class Asked:
    """What a client was asked, as far as its reply is held against it."""

    phase: str
    weights: Weights
    strategy: Strategy
    settings: Mapping[str, Setting] = field(default_factory=dict)
    summed: bool = False
    """Whether the reply is put to a sum where it was made."""

    def addends(self, update: Update) -> Mapping[str, Addend]:
        """Return what an update adds to the sums; clipped to what was asked, under privacy."""
        if isinstance(self.strategy, Guarded):
            return self.strategy.clipped(update, self.settings)
        return self.strategy.addends(update)

    def fault(self, update: Update, client: ClientInfo) -> str:
        """Return what is wrong with an update; empty if nothing is."""
        if self.phase in (EVALUATE, REFERENCE, DESCRIBE):
            return ""
        wants_delta = self.phase in self.strategy.deltas
        return fault_of(update, client, self.weights, wants_delta, self._sums_deltas) or ""

    @property
    def _sums_deltas(self) -> bool:
        """Whether the sum takes the delta as it is, and so looks at each of its numbers."""
        is_own = type(self.strategy).addends is not Strategy.addends
        return self.summed and not is_own and not isinstance(self.strategy, Guarded)


Read = tuple[Update | None, Turn]


def read(reply: Message, client: ClientInfo, asked: Asked) -> Read:
    """Return the update that a reply carries, or None and, in the turn, what is wrong with it."""
    if reply.has_error():
        return None, Turn(client.id, fault=reply.error.reason or "an error without a reason")
    return _opened(reply.content, client, asked)


def taken(update: Update, client: ClientInfo, asked: Asked, seconds: float = 0.0) -> Read:
    """Return what :func:`read` would of a reply with ``update``, mostly without making one."""
    if (found := codec.received(update, client.id)) is None:
        return _opened(codec.update_records(update), client, asked, seconds)
    plain, size = found
    fault = asked.fault(plain, client)
    turn = Turn(client.id, plain.examples, plain.metrics, seconds, size, fault)
    return (None if fault else plain), turn


def _opened(content: RecordDict, client: ClientInfo, asked: Asked, seconds: float = 0.0) -> Read:
    size = count_bytes(content)
    try:
        update = codec.update_in(content, client.id)
    except Exception as error:  # any malformed content: the client's fault, never the run's end
        fault = f"unreadable reply: {error}"
        return None, Turn(client.id, seconds=seconds, bytes_up=size, fault=fault)
    fault = asked.fault(update, client)
    turn = Turn(client.id, update.examples, update.metrics, seconds, size, fault)
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
