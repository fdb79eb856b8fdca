"""One round: sampling of clients, broadcast, exchange of updates, and the server's step."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from torch import nn

from fedsim.aggregate import mean_metrics
from fedsim.cohort import Sampler
from fedsim.engine.transport import Transport
from fedsim.errors import FedsimError, QuorumLost, RunError
from fedsim.flower.exchange import Replies
from fedsim.runlog.events import Dropped, RoundRecord
from fedsim.seeds import torch_stream
from fedsim.strategy import ReplySpec, Server, ServerState, Strategy
from fedsim.wire import Broadcast, ClientInfo, Merged
from fedsim.worker.exception_text import describe_exception

__all__ = ["RoundSetup", "run_round"]


@dataclass(frozen=True)
class RoundSetup:
    """What stays the same for a whole run."""

    seed: int
    clients: Sequence[ClientInfo]
    sampler: Sampler
    cohort_size: int
    quorum: Callable[[int], int]
    """How many replies a cohort of that many clients must give."""
    strategy: Strategy
    carrier: Transport
    model: nn.Module
    """The server's own model, for strategies that train there."""
    release: Callable[[Replies, ServerState], Merged] | None = None
    """What makes a noisy mean under central privacy, of an empty cohort too."""
    wanted: ReplySpec | None = None
    """What the strategy holds replies against, where they come whole."""


def run_round(number: int, state: ServerState, fed: RoundSetup) -> tuple[ServerState, RoundRecord]:
    """Return the state after round ``number`` and the round's record, not yet evaluated.

    Args:
        number: from 1.
        state: what the server knew after the round before.
        fed: what stays the same.

    Raises:
        QuorumLost: if fewer clients replied than the quorum; nothing of the round is kept.
    """
    start = time.perf_counter()
    aside = dict(fed.carrier.set_aside)
    drawn = fed.sampler.draw(len(fed.clients), fed.cohort_size, number, fed.seed)
    cohort = [fed.clients[position] for position in drawn if position not in aside]
    gathered = []
    dropped = [Dropped(k, "cohort", f"set aside: {aside[k]}") for k in drawn if k in aside]
    for phase in fed.strategy.phases():
        state = replace(state, round=number, phase=phase)
        asked_clients = [info for info in cohort if fed.strategy.participates(phase, info)]
        if cohort and not asked_clients and not fed.release:
            continue
        instructions = _tasks(state, asked_clients, fed)
        reply = fed.carrier.exchange(number, phase, instructions).sifted(fed.strategy, fed.wanted)
        gathered.append(reply)
        dropped += [Dropped(turn.client, phase, turn.fault) for turn in reply.turns if turn.fault]
        _check_quorum(number, len(drawn) - len(cohort) + len(asked_clients), reply, fed)
        # Who failed in one phase is not asked in the next: it lacks what that one gave.
        failed = {turn.client for turn in reply.turns if turn.fault}
        cohort = [info for info in cohort if info.id not in failed]
        if len(failed) < len(asked_clients) or fed.release:
            where = zlib.crc32(phase.encode())
            generator = torch_stream(fed.seed, "server", number, where)
            with _blamed(fed.strategy, "aggregate", number):
                merged = fed.release(reply, state) if fed.release else reply.merged(fed.strategy)
            with _blamed(fed.strategy, "step", number):
                state = fed.strategy.step(state, merged, Server(fed.model, generator))
    return state, RoundRecord(
        round=number,
        metrics={},
        cohort=tuple(drawn),
        dropped=tuple(dropped),
        train=mean_metrics([turn for reply in gathered for turn in reply.turns if not turn.fault]),
        clients={},
        bytes_up=sum(reply.bytes_up for reply in gathered),
        bytes_down=sum(reply.bytes_down for reply in gathered),
        seconds=time.perf_counter() - start,
    )


def _tasks(
    state: ServerState, clients: Sequence[ClientInfo], fed: RoundSetup
) -> Iterator[tuple[ClientInfo, Broadcast]]:
    """Yield what each client is sent; one by one, for a large cohort's would fill much room."""
    for info in clients:
        with _blamed(fed.strategy, "broadcast", state.round):
            broadcast = fed.strategy.broadcast(state, info)
        yield info, broadcast


@contextmanager
def _blamed(strategy: Strategy, verb: str, number: int) -> Iterator[None]:
    """Name the strategy's verb, and its own line, in whatever it raises."""
    try:
        yield
    except FedsimError:
        raise
    except Exception as error:
        name = type(strategy).__name__
        raise RunError(
            f"round {number}: {name}.{verb} raised {describe_exception(error)}"
        ) from error


def _check_quorum(number: int, cohort_size: int, reply: Replies, fed: RoundSetup) -> None:
    good = sum(not turn.fault for turn in reply.turns)
    needed = fed.quorum(cohort_size)
    if good < needed:
        faults: dict[str, list[int]] = {}
        for turn in reply.turns:
            if turn.fault:
                faults.setdefault(turn.fault, []).append(turn.client)
        reasons = [
            f"client {clients[0]}{_more(len(clients) - 1)}: {fault}"
            for fault, clients in list(faults.items())[:3]
        ]
        why = "; ".join(reasons) or "nobody was asked"
        raise QuorumLost(
            f"round {number}: {good} of {cohort_size} clients replied, "
            f"clients.min_replies asks for {needed}: {why}"
        )


def _more(count: int) -> str:
    return f" and {count} more" if count else ""
