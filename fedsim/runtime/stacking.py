"""How many clients train in the same steps: as asked, after a trial, or as a trial finds best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from fedsim.data.federated import FederatedData
from fedsim.runtime.trial import TimingTrial, device_of, milliseconds, said
from fedsim.schema.scenario import Scenario
from fedsim.strategy import Strategy
from fedsim.wire import Update

__all__ = ["COHORT", "TOLERANCE", "Stacking", "fitting", "stacking", "with_stacking"]

COHORT = "cohort.json"
"""The file of a run's folder that keeps what was found: a resumed run takes it from there."""

TOLERANCE = 1e-3
"""What a stacked update may differ from the one-by-one update, relative to its largest number:
the same sums in another order.  Measured: below 2e-5 on the reference models."""

SIZES = (4, 8, 16, 32)
GAIN = 0.9
"""A stack must take less than this share of the time that one by one takes."""
LONG_S = 0.25
"""Turns that take longer are bound by their arithmetic, and stacking does not help them."""


@dataclass(frozen=True)
class Stacking:
    """How many clients train together, and why."""

    cohort: int
    note: str = ""
    """For the user; empty where there is nothing to say."""
    milliseconds: dict[str, float] = field(default_factory=dict)
    """Per client and turn, by the size of the stack, where it was measured."""


def stacking(scenario: Scenario, data: FederatedData, strategy: Strategy, store: Path) -> Stacking:
    """Return how many clients of ``scenario`` train together.

    Two clients are tried in any case: where stacking fails, or gives other numbers than one by
    one, the run goes one by one and says so.

    Args:
        scenario: its ``compute.cohort`` says what is wished.
        data: the run's.
        strategy: the server's own, which knows what it sends.
        store: where the data is.
    """
    choice = scenario.compute.cohort
    if choice in ("off", 1):
        return Stacking(1)
    if scenario.privacy is not None and scenario.privacy.unit == "client":
        # Who is beside a client decides about the last bits of its update, and with them whether
        # one client more or less moves the sum by the clip and no more.
        return Stacking(1, "clients train one by one: none may know who else takes part")
    if scenario.compute.precision != "float32":
        return Stacking(1, "clients train one by one: stacks are computed in float32 only")
    if not isinstance(data.model_shape, tuple):
        return Stacking(1, "clients train one by one: their inputs are several arrays")
    trial = TimingTrial.of(scenario, data, strategy, store)
    if why := _refusal(trial):
        return Stacking(1, f"clients train one by one: {why}")
    if choice != "auto":
        on_gpu = device_of(scenario) != "cpu"
        return fitting(trial, int(choice)) if on_gpu else Stacking(int(choice))
    cohort = scenario.clients.per_round.of(len(data.clients), at_least=1)
    timings = _measured(trial, [size for size in SIZES if 2 * size <= cohort])
    best = min(timings, key=lambda size: timings[size])
    best = best if timings[best] < GAIN * timings[1] else 1
    listed = ", ".join(f"{size}: {ms:.2f} ms" for size, ms in timings.items())
    note = f"clients train {best} at a time (per client {listed}); kept for this run in cohort.json"
    return Stacking(best, note, {str(size): ms for size, ms in timings.items()})


def with_stacking(scenario: Scenario, stacking: Stacking) -> Scenario:
    """Return ``scenario`` with its ``compute.cohort`` settled."""
    compute = scenario.compute.model_copy(update={"cohort": stacking.cohort})
    return scenario.model_copy(update={"compute": compute})


def _refusal(trial: TimingTrial) -> str:
    """Return why clients cannot be stacked; empty if they can."""
    if len(trial.instructions) < 2:
        return "fewer than two clients train"
    pair, worker = trial.instructions[:2], trial.host.worker
    if not worker.has_together(pair[0].phase):
        return "this local update rule cannot train several clients together"
    try:
        many = worker.turns(pair)
        alone = [worker.turn(instruction) for instruction in pair]
    except Exception as error:  # whatever a model or a local update rule may raise
        return said(error)
    difference = max(_apart(single, stacked) for single, stacked in zip(alone, many, strict=True))
    return (
        ""
        if difference <= TOLERANCE
        else f"together, updates differ by {difference:.1e} of their size"
    )


def fitting(trial: TimingTrial, requested: int) -> Stacking:
    """Return ``requested``, halved until it fits on the GPU: once, for the whole run."""
    size = requested
    while size > 1 and not _fits(trial, size):
        size //= 2
    note = f"clients train {size} at a time: there is no room on the GPU for {requested}"
    return Stacking(size, note if size < requested else "")


def _fits(trial: TimingTrial, size: int) -> bool:
    try:
        trial.host.worker.stack(trial.instructions[:size])
    except torch.OutOfMemoryError:
        return False
    return True


def _measured(trial: TimingTrial, sizes: Sequence[int]) -> dict[int, float]:
    """Return the milliseconds that a client takes in stacks of each size, and alone (1)."""
    worker, few = trial.host.worker, trial.instructions[:8]

    def one_by_one() -> None:
        for instruction in few:
            worker.turn(instruction)

    timings = {1: milliseconds(one_by_one) / len(few)}
    for size in sizes if timings[1] < 1000 * LONG_S else ():
        if len(instructions := trial.instructions[:size]) < size:
            break
        try:
            timings[size] = milliseconds(partial(worker.stack, instructions)) / size
        except torch.OutOfMemoryError:
            break
    return timings


def _apart(first: Update, second: Update) -> float:
    """Return the largest difference between two updates, relative to their largest number."""
    size = max((float(t.abs().max()) for t in first.delta.values() if t.numel()), default=0.0)
    difference = max(
        (
            float((t - second.delta[name]).abs().max())
            for name, t in first.delta.items()
            if t.numel()
        ),
        default=0.0,
    )
    return difference / size if size else difference
