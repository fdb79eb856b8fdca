"""Whether local steps run as compiled code: as asked, after a trial, or where it is repaid."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fedsim.data.federated import FederatedData
from fedsim.runtime.choose import backend_of, workers_of
from fedsim.runtime.host import Host
from fedsim.runtime.trial import TimingTrial, device_of, milliseconds, said
from fedsim.schema.scenario import Scenario
from fedsim.strategy import Strategy
from fedsim.wire import Instruction, Update
from fedsim.worker.worker import Worker

__all__ = ["COMPILED", "Compiling", "compiling", "with_compiling"]

COMPILED = "compiled.json"
"""The file of a run's folder that keeps what was found: a resumed run takes it from there."""

TOLERANCE = {"float32": 0.02, "bf16": 0.2}
"""How far a compiled turn may end from the other, relative to how far it moved (2-norms).
Measured after four steps of a ConvNet: up to 0.005 and 0.06; a ReLU's input next to zero decides
for the other side, and later steps follow it."""

WARM_UP_S = 30.0
"""What compiling took for the larger reference models, on one core, with an empty cache."""

HOPE = 0.2
"""The share of a turn that compiled code is hoped to save where nothing has been measured."""

GAIN = 0.9
"""A compiled turn must take less than this share of the other's time."""


@dataclass(frozen=True)
class Compiling:
    """Whether to compile, and why."""

    use: bool
    note: str = ""
    """For the user; empty where there is nothing to say."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of a client's turn, before and after, and of compiling, where they were measured."""


def compiling(
    scenario: Scenario, data: FederatedData, strategy: Strategy, store: Path
) -> Compiling:
    """Return whether the local steps of ``scenario`` run as compiled code.

    What is compiled here lies in PyTorch's cache on disk, where the workers of this machine find
    it.  Where there is no compiler, or compiled code gives other numbers, the run goes on without
    and says so.

    Args:
        scenario: with its ``compute.cohort`` settled.
        data: the run's.
        strategy: the server's own, which knows what it sends.
        store: where the data is.
    """
    choice, together = scenario.compute.compile, scenario.compute.cohort
    if choice == "off":
        return Compiling(False)
    if isinstance(together, int) and together > 1:
        return Compiling(False, "nothing is compiled: clients train in the same steps")
    plain = TimingTrial.of(scenario, data, strategy, store)
    if not plain.instructions:
        return Compiling(False, "nothing is compiled: no client trains")
    try:
        instruction = max(plain.instructions, key=lambda instruction: instruction.client.examples)
        plain.host.worker.turn(instruction)  # the first turn of a process takes longer
        before = milliseconds(partial(plain.host.worker.turn, instruction)) / 1000
        planned = before * _turns(scenario, data)
        if choice == "auto" and HOPE * planned < WARM_UP_S:
            what = f"{planned:.0f} s of local training on each worker"
            return Compiling(False, f"nothing is compiled: {what} is too little to repay compiling")
        start = time.perf_counter()
        settled = with_compiling(scenario, Compiling(True))
        fast = Host(settled, store, device_of(scenario)).worker
        seconds_spent = {"before": before, "warm_up": time.perf_counter() - start}
        return _tried(scenario, instruction, (plain.host.worker, fast), seconds_spent)
    except Exception as error:  # no compiler, or a model or local update rule that raises
        return Compiling(False, f"nothing is compiled: {said(error)}")


def with_compiling(scenario: Scenario, compiling: Compiling) -> Scenario:
    """Return ``scenario`` with its ``compute.compile`` settled."""
    use = "on" if compiling.use else "off"
    compute = scenario.compute.model_copy(update={"compile": use})
    return scenario.model_copy(update={"compute": compute})


def _turns(scenario: Scenario, data: FederatedData) -> float:
    """Return how many turns a worker takes in the whole run."""
    cohort = scenario.clients.per_round.of(len(data.clients), at_least=1)
    workers = workers_of(scenario.compute, backend_of(scenario, data))
    return scenario.rounds * cohort / workers


def _tried(
    scenario: Scenario,
    instruction: Instruction,
    workers: tuple[Worker, Worker],
    seconds_spent: dict[str, float],
) -> Compiling:
    """Take a compiled turn, and see that it is the same one, and faster if it has to be."""
    plain, fast = workers
    if not fast.passes.compiled:
        return Compiling(
            False, "nothing is compiled: this local update rule has no fixed batch size"
        )
    difference = _apart(plain.turn(instruction), fast.turn(instruction))
    if not difference <= TOLERANCE[scenario.compute.precision]:
        return Compiling(
            False, f"nothing is compiled: compiled updates differ by {difference:.0e} of their size"
        )
    before, after = seconds_spent["before"], milliseconds(partial(fast.turn, instruction)) / 1000
    timing = (
        f"a turn of {before:.3f} s takes {after:.3f} s, compiling {seconds_spent['warm_up']:.1f} s"
    )
    seconds = {**seconds_spent, "after": after}
    if scenario.compute.compile == "auto" and after > GAIN * before:
        return Compiling(False, f"nothing is compiled: {timing}", seconds)
    return Compiling(True, f"local steps are compiled: {timing}; kept in {COMPILED}", seconds)


def _apart(first: Update, second: Update) -> float:
    """Return how far apart two updates end, relative to how far the first one moved."""
    squared_norm = sum(float(tensor.square().sum()) for tensor in first.delta.values())
    gaps = [
        float((tensor - second.delta[name]).square().sum()) for name, tensor in first.delta.items()
    ]
    return (sum(gaps) / squared_norm) ** 0.5 if squared_norm else float(sum(gaps) > 0)
