"""One round, from top to bottom: who takes part, what they are sent, what comes of it."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from torch import nn

from fedsim.cohort import Sampler
from fedsim.errors import FedsimError, QuorumLost, RunError
from fedsim.flower.carrier import Carrier, Gathered
from fedsim.flower.host import blame
from fedsim.metrics import means
from fedsim.report.events import Dropped, RoundRecord
from fedsim.seeds import torch_stream
from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import ClientInfo

__all__ = ["Federation", "run_round"]


@dataclass(frozen=True)
class Federation:
    """What stays the same for a whole run."""

    seed: int
    clients: Sequence[ClientInfo]
    sampler: Sampler
    cohort_size: int
    quorum: Callable[[int], int]
    """How many replies a cohort of that many clients must give."""
    strategy: Strategy
    carrier: Carrier
    model: nn.Module
    """The server's own model, for strategies that train there."""


def run_round(number: int, state: ServerState, fed: Federation) -> tuple[ServerState, RoundRecord]:
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
        with _blamed(fed.strategy, "broadcast", number):
            tasks = [(info, fed.strategy.broadcast(state, info)) for info in cohort]
        reply = fed.carrier.exchange(number, phase, tasks)
        gathered.append(reply)
        dropped += [Dropped(turn.client, phase, turn.fault) for turn in reply.turns if turn.fault]
        _check_quorum(number, drawn, cohort, reply, fed)
        # Who failed in one phase is not asked in the next: it lacks what that one gave.
        failed = {turn.client for turn in reply.turns if turn.fault}
        cohort = [info for info in cohort if info.id not in failed]
        if cohort:
            where = zlib.crc32(phase.encode())
            draws = torch_stream(fed.seed, "server", number, where)
            with _blamed(fed.strategy, "aggregate", number):
                merged = reply.merged(fed.strategy)
            with _blamed(fed.strategy, "step", number):
                state = fed.strategy.step(state, merged, Server(fed.model, draws))
    return state, RoundRecord(
        round=number,
        accuracy=None,
        loss=None,
        cohort=tuple(drawn),
        dropped=tuple(dropped),
        train=means([turn for reply in gathered for turn in reply.turns if not turn.fault]),
        clients={},
        bytes_up=sum(reply.bytes_up for reply in gathered),
        bytes_down=sum(reply.bytes_down for reply in gathered),
        seconds=time.perf_counter() - start,
    )


@contextmanager
def _blamed(strategy: Strategy, verb: str, number: int) -> Iterator[None]:
    """Name the strategy's verb, and its own line, in whatever it raises."""
    try:
        yield
    except FedsimError:
        raise
    except Exception as error:
        name = type(strategy).__name__
        raise RunError(f"round {number}: {name}.{verb} raised {blame(error)}") from error


def _check_quorum(
    number: int, drawn: list[int], cohort: list[ClientInfo], reply: Gathered, fed: Federation
) -> None:
    good = sum(not turn.fault for turn in reply.turns)
    needed = fed.quorum(len(drawn))
    if good < needed:
        faults = [f"client {turn.client}: {turn.fault}" for turn in reply.turns if turn.fault]
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        why = "; ".join(faults[:3]) or "nobody was asked"
        raise QuorumLost(
            f"round {number}: {good} of {len(drawn)} clients replied, "
            f"clients.min_replies asks for {needed}: {why}{more}"
        )
