"""The host in a worker process: one ClientApp that trains a chunk of clients."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from flwr.app import RecordDict

from fedsim.data.federated import FederatedData
from fedsim.flower import codec
from fedsim.flower.arrays import plain_bytes
from fedsim.flower.chunk import Chunk, ChunkReply, Memory
from fedsim.flower.client_app import REFERENCE, verbs_of
from fedsim.flower.parts import client_of, strategy_of
from fedsim.flower.replies import Asked, taken
from fedsim.kernels import require
from fedsim.schema.scenario import Scenario
from fedsim.wire import ClientId, ClientInfo, Instruction, ReplyInfo, Update, Weights
from fedsim.worker.exception_text import describe_exception
from fedsim.worker.time_limit import time_limit
from fedsim.worker.worker import Worker

__all__ = ["Host"]


class Host:
    """One worker's share of a run: the data, what clients do, the strategy's addends."""

    def __init__(self, scenario: Scenario, store: Path, device: str = "cpu") -> None:
        require(scenario.compute.repeatable)
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
        self._check_rows()
        self._decoder = codec.Decoder()
        self._verbs = verbs_of(self.worker, self.strategy.phases())
        self._deadline = scenario.clients.deadline_s

    def _check_rows(self) -> None:
        """Tell where a private rule's bound does not hold to the last bit on this processor."""
        worker = self.worker
        if worker.client.rows_are_exact(worker.model, worker.data.shape, worker.measures.task):
            return
        worker.notes.append(
            "on this processor an example's place in a batch changes the last bits of its "
            "gradient, so the sensitivity holds up to rounding only: see docs/determinism.md"
        )

    def run(self, chunk: Chunk, contents: Sequence[RecordDict]) -> ChunkReply:
        """Let each client of ``chunk`` take its turn; one that fails harms no other."""
        out, first = ChunkReply(chunk.summed), 0
        for size in chunk.groups:
            clients = chunk.clients[first : first + size]
            content = contents[chunk.content_of[first]]
            first += size
            if size == 1 or not self._together(chunk, clients, content, out):
                for client in clients:
                    self._turn(chunk, client, content, out)
        out.notes, self.worker.notes = self.worker.notes, []
        return out

    def _turn(self, chunk: Chunk, client: ClientId, content: RecordDict, out: ChunkReply) -> None:
        number, broadcast = self._decoder.opened(content)
        request = Asked(
            chunk.phase, broadcast.weights, self.strategy, broadcast.settings, chunk.summed
        )
        start = time.perf_counter()
        try:
            # A reference is many rounds of work in one turn.
            with time_limit(None if chunk.phase == REFERENCE else self._deadline):
                memory = _own(chunk.states.get(client, {}))
                update = self._verbs[chunk.phase](number, client, broadcast, memory)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit and OutOfTime too: a fault, no raise
            seconds = time.perf_counter() - start
            out.turns.append(ReplyInfo(client, seconds=seconds, fault=describe_exception(error)))
            return
        seconds = time.perf_counter() - start
        if update.memory is memory:
            update = replace(update, memory={})
        _take(self.worker.data.clients[client], update, request, seconds, out)

    def _together(
        self, chunk: Chunk, clients: Sequence[ClientId], content: RecordDict, out: ChunkReply
    ) -> bool:
        """Let ``clients`` take one turn in the same steps; False, and nothing done, if it fails.

        Whose fault it is shows when they take their turns one by one.
        """
        if not self.worker.has_together(chunk.phase):
            return False
        number, broadcast = self._decoder.opened(content)
        request = Asked(
            chunk.phase, broadcast.weights, self.strategy, broadcast.settings, chunk.summed
        )
        infos = [self.worker.data.clients[client] for client in clients]
        limit = None if self._deadline is None else self._deadline * len(infos)
        start = time.perf_counter()
        try:
            with time_limit(limit):
                instructions = [
                    Instruction(
                        number, chunk.phase, info, broadcast, _own(chunk.states.get(info.id, {}))
                    )
                    for info in infos
                ]
                updates = self.worker.turns(instructions)
        except KeyboardInterrupt:
            raise
        except BaseException:
            return False
        seconds = (time.perf_counter() - start) / len(infos)
        for info, update in zip(infos, updates, strict=True):
            _take(info, update, request, seconds, out)
        return True


def _take(
    info: ClientInfo, update: Update, request: Asked, seconds: float, out: ChunkReply
) -> None:
    """Check an update and put it, or what it adds, to what goes back."""
    try:
        got, turn = taken(update, info, request, seconds)
        memory = kept_of(update.memory)
    except Exception as error:  # what cannot be encoded is the client's fault
        got, turn, memory = (
            None,
            ReplyInfo(info.id, seconds=seconds, fault=describe_exception(error)),
            {},
        )
    if got is not None and out.summed:
        try:
            out.sums.add(info.id, request.addends(got, info))
        except Exception as error:  # and so is what cannot be summed
            fault = replace(request, summed=False).fault(got, info)
            turn = replace(turn, fault=fault or describe_exception(error))
    elif got is not None:
        # Kept for later, when the model that its tensors may share is another client's.
        out.updates.append(replace(got, delta=_cut(got.delta), extras=_own(got.extras)))
    out.turns.append(turn)
    if memory and not turn.fault:
        out.states[info.id] = memory


def _cut(weights: Weights) -> Weights:
    return {name: tensor.clone() for name, tensor in weights.items()}


def _own(memory: Memory) -> dict[str, Weights]:
    return {name: _cut(weights) for name, weights in memory.items()}


def kept_of(memory: Memory) -> dict[str, Weights]:
    """Return what a client keeps, as if it had gone through the state of a Flower context."""
    if all(plain_bytes(weights) is not None for weights in memory.values()):
        return _own(memory)
    return codec.memory_of(codec.memory_records(memory))
