"""How much of a GPU each worker gets: at least the memory that a turn was measured to need."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch

from fedsim.data.federated import FederatedData
from fedsim.runtime.choose import backend_of, workers_of
from fedsim.runtime.trial import TimingTrial, device_of
from fedsim.schema.scenario import Scenario
from fedsim.strategy import Strategy

__all__ = ["part_of", "sharing"]

CONTEXT = 600 << 20
"""Bytes of a GPU that a process takes before its first tensor."""

SLACK = 1.25
"""Clients differ: the largest may take so many times what was measured."""

GRAIN = 100
"""Parts of a GPU are counted in hundredths."""


def sharing(scenario: Scenario, data: FederatedData, strategy: Strategy, store: Path) -> Scenario:
    """Return ``scenario`` with ``compute.gpus_per_worker`` settled, where that takes measuring.

    That is on a machine with a GPU, for workers on Ray that nobody gave a share.  What comes of
    a run does not depend on it.
    """
    compute = scenario.compute
    if compute.gpus_per_worker != "auto" or device_of(scenario) == "cpu":
        return scenario
    backend = backend_of(scenario, data)
    if backend == "local":
        return scenario
    trial = TimingTrial.of(scenario, data, strategy, store)
    together = compute.cohort if isinstance(compute.cohort, int) else 1
    instructions = sorted(trial.instructions, key=lambda instruction: -instruction.client.examples)[
        :together
    ]
    if not instructions:
        return scenario
    torch.cuda.reset_peak_memory_stats()
    if len(instructions) > 1:
        trial.host.worker.turns(instructions)
    else:
        trial.host.worker.turn(instructions[0])
    bytes_each = CONTEXT + SLACK * torch.cuda.max_memory_reserved()
    least = bytes_each / torch.cuda.mem_get_info()[1]
    share = part_of(least, torch.cuda.device_count(), workers_of(compute, backend))
    settled = compute.model_copy(update={"gpus_per_worker": share})
    return scenario.model_copy(update={"compute": settled})


def part_of(least: float, gpus: int, workers: int) -> float | Literal["auto"]:
    """Return what each worker holds, or ``auto`` where memory is not what decides.

    >>> part_of(0.05, gpus=1, workers=8)  # an eighth each is more than they need
    'auto'
    >>> part_of(0.21, gpus=1, workers=8)  # four fit, and a quarter each is theirs
    0.25
    >>> part_of(0.7, gpus=2, workers=8)
    1.0

    Args:
        least: the part of a GPU's memory that a worker was seen to need.
        gpus: of this machine.
        workers: that would share them.
    """
    if least <= gpus / workers:
        return "auto"
    on_each = max(1, math.floor(1 / least))
    return math.floor(GRAIN / on_each) / GRAIN
