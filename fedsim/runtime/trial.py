"""A timing trial: a few clients' turns, run before round 1 to find the fastest settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fedsim.data.federated import FederatedData
from fedsim.runtime.host import Host
from fedsim.schema.scenario import Scenario
from fedsim.strategy import Strategy
from fedsim.wire import Instruction

__all__ = ["TimingTrial", "device_of", "milliseconds", "said"]


@dataclass(frozen=True)
class TimingTrial:
    """Clients' tasks of a first round, and what would run them."""

    host: Host
    instructions: Sequence[Instruction]

    @classmethod
    def of(
        cls, scenario: Scenario, data: FederatedData, strategy: Strategy, store: Path
    ) -> TimingTrial:
        """Return up to 64 clients of about median size, in a host on the device of the run.

        Nothing is compiled for it, and noise comes from the seed, so that what is tried twice
        can be compared: nothing of a trial is released.
        """
        compute = scenario.compute.model_copy(update={"compile": "off"})
        plain = scenario.model_copy(update={"compute": compute})
        if (privacy := plain.privacy) is not None:
            simulated = privacy.model_copy(update={"rng": "simulation"})
            plain = plain.model_copy(update={"privacy": simulated})
        host = Host(plain, store, device_of(scenario))
        phase = strategy.phases()[0]
        begun = strategy.begin(host.worker.initial, data.clients)
        state = replace(begun, round=1, phase=phase)
        nonempty = [at for at in data.sizes.argsort(kind="stable") if data.sizes[at]]
        middle = nonempty[max(0, len(nonempty) // 2 - 32) :][:64]
        chosen = [data.clients[int(at)] for at in sorted(middle)]
        instructions = [
            Instruction(1, phase, info, strategy.broadcast(state, info))
            for info in chosen
            if strategy.participates(phase, info)
        ]
        return cls(host, instructions)


def device_of(scenario: Scenario) -> str:
    """Return where this process would train the clients of ``scenario``."""
    wished = scenario.compute.gpus_per_worker != 0
    return "cuda" if wished and torch.cuda.is_available() else "cpu"


def milliseconds(work: Callable[[], object]) -> float:
    """Return what ``work`` takes: the best of three, for others use the machine too."""
    timings = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        timings.append(1000 * (time.perf_counter() - start))
    return min(timings)


def said(error: Exception) -> str:
    """Return an error as one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
