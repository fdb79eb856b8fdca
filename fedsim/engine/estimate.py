"""Estimates the cost of a run from one client's turn that is really taken."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fedsim.data.federated import FederatedData, prepare
from fedsim.engine.transport import Transport
from fedsim.errors import RunError
from fedsim.flower.exchange import Replies
from fedsim.flower.parts import strategy_of
from fedsim.models._check import check_model
from fedsim.models._scenario_model import scenario_model
from fedsim.models._state import described_state, weights_of
from fedsim.privacy.privacy_spec import settle_privacy
from fedsim.runtime.choose import backend_of, workers_of
from fedsim.runtime.compiling import Compiling, with_compiling
from fedsim.runtime.local import LocalGrid
from fedsim.schema.scenario import Scenario
from fedsim.tasks._from_scenario import task_of
from fedsim.wire import Weights

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """What a run would take."""

    clients: int
    cohort: int
    turns: int
    """Clients' turns in all rounds together."""
    parameters: int
    """Numbers that are exchanged: what is trained, and buffers that training moves."""
    state: str
    """What the model's state is made of."""
    bytes_down: int
    """From the server to all clients, over all rounds."""
    bytes_up: int
    turn_seconds: float
    """One turn of a client of median size, measured here, its examples already in memory."""
    seconds: float
    """``turns * turn_seconds / workers``: without starting, evaluation and references."""
    backend: str
    workers: int
    disk_bytes: int
    """The checkpoints that are kept, and the final weights."""


def estimate(scenario: Scenario) -> Estimate:
    """Return what ``scenario`` would take; one client takes one turn to find out.

    Raises:
        RunError: if that turn fails: so would the run.
        DataError: if the data cannot be dealt.
        ScenarioError: if the model cannot be trained here.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "data"
        data = prepare(scenario, store)
        task = task_of(scenario, data.targets)
        model = scenario_model(scenario, data.model_shape, task.outputs)
        check_model(model, data.model_shape, data.stored["inputs"].dtype.kind == "i", task)
        weights = weights_of(model)
        turns = _trial(scenario, data, weights, store)
    cohort = scenario.clients.per_round.of(len(data.clients), at_least=1)
    count = scenario.rounds * cohort
    seconds = sum(gathered.turns[0].seconds for gathered in turns)
    backend = backend_of(scenario, data)
    workers = workers_of(scenario.compute, backend)
    size = sum(tensor.nbytes for tensor in weights.values())
    return Estimate(
        clients=len(data.clients),
        cohort=cohort,
        turns=count,
        parameters=sum(tensor.numel() for tensor in weights.values()),
        state=described_state(model),
        bytes_down=count * sum(gathered.bytes_down for gathered in turns),
        bytes_up=count * sum(gathered.bytes_up for gathered in turns),
        turn_seconds=seconds,
        seconds=count * seconds / workers,
        backend=backend,
        workers=workers,
        disk_bytes=size * (scenario.checkpoint.keep + 1),
    )


def _trial(scenario: Scenario, data: FederatedData, weights: Weights, store: Path) -> list[Replies]:
    """Let a client of median size take its turn in each phase, once to warm up and once more."""
    middle = sorted(data.clients, key=lambda info: info.examples)[len(data.clients) // 2]
    scenario, claim = settle_privacy(scenario, data.clients)
    strategy = strategy_of(scenario, claim)
    state = strategy.begin(weights, data.clients)
    with closing(LocalGrid(with_compiling(scenario, Compiling(False)), store)) as grid:
        carrier = Transport(grid, strategy)
        turns = [
            carrier.exchange(1, phase, [(middle, strategy.broadcast(state, middle))])
            for phase in 2 * tuple(strategy.phases())
        ]
    for turn in (turn for gathered in turns for turn in gathered.turns):
        if turn.fault:
            raise RunError(f"the trial turn of client {middle.id} failed: {turn.fault}")
    return turns[len(turns) // 2 :]
