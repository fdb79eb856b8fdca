"""Where a GPU has no room for a stack, smaller stacks do the same; workers share by memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fedsim.data.federated import prepare
from fedsim.flower.parts import strategy_of
from fedsim.runtime.gpu_share import part_of
from fedsim.runtime.stacking import Stacking, fitting
from fedsim.runtime.trial import TimingTrial

CLIENTS = {"count": 11, "per_round": 9}

CRAMPED = """
from dataclasses import dataclass

import torch

from fedsim.clients.sgd import Sgd


@dataclass(frozen=True)
class Cramped(Sgd):
    room: int = 2

    def train_together(self, model, seats):
        for seat in seats:
            torch.rand(3, generator=seat.generator)  # what failed has drawn
        if len(seats) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory: planted")
        # A stack that is let in draws from the beginning, as every turn does.
        for seat in seats:
            seat.generator.manual_seed(seat.instruction.client.id)
        return super().train_together(model, seats)

    def train(self, model, examples, task, draws):
        draws.manual_seed(task.client.id)
        return super().train(model, examples, task, draws)
"""


@pytest.fixture
def cramped(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "cramped.py").write_text(CRAMPED)
    return {"lr": 0.1, "use": "./cramped.py:Cramped"}


def test_a_stack_that_does_not_fit_is_halved_and_it_is_said(scenario, play, cramped) -> None:
    def run(**sections: object):
        return play(scenario(clients=CLIENTS, **sections))

    alone = run(local=cramped)
    halved = run(local=cramped, compute={"backend": "local", "cohort": 8})
    assert halved.notes == [
        "no room on the GPU for 8 clients together: 4 at a time",
        "no room on the GPU for 4 clients together: 2 at a time",
    ]
    assert halved.result.dropped == 0
    for one, other in zip(alone.rounds, halved.rounds, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
    pairs = run(local=cramped, compute={"backend": "local", "cohort": 2})
    assert pairs.result.weights_sha256 == halved.result.weights_sha256


def test_a_stack_of_one_that_does_not_fit_is_trained_alone(scenario, play, cramped) -> None:
    none = {**cramped, "room": 0}
    alone = play(scenario(clients=CLIENTS, local=none))
    tried = play(scenario(clients=CLIENTS, local=none, compute={"backend": "local", "cohort": 4}))
    assert "planted" in tried.notes[0]
    assert tried.result.weights_sha256 == alone.result.weights_sha256


def test_a_size_that_fits_is_found_before_the_first_round(scenario, cramped, tmp_path) -> None:
    of = scenario(clients=CLIENTS, local=cramped)
    data = prepare(of, tmp_path / "store")
    trial = TimingTrial.of(of, data, strategy_of(of), tmp_path / "store")
    assert fitting(trial, 2) == Stacking(2)
    told = "clients train 2 at a time: there is no room on the GPU for 9"
    assert fitting(trial, 9) == Stacking(2, told)


@pytest.mark.parametrize(
    ("least", "gpus", "workers", "share"),
    [(0.1, 1, 8, "auto"), (0.13, 1, 8, 0.14), (0.4, 1, 4, 0.5), (0.6, 2, 4, 1.0), (3.0, 1, 1, 1.0)],
)
def test_workers_share_a_gpu_as_its_memory_allows(least, gpus, workers, share) -> None:
    assert part_of(least, gpus, workers) == share


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("cohort", ["off", 4])
def test_a_run_on_a_gpu_is_the_run_on_a_cpu_up_to_rounding(scenario, play, cohort) -> None:
    compute = {"backend": "local", "cohort": cohort}
    here, there = (
        play(scenario(clients=CLIENTS, compute={**compute, "gpus_per_worker": gpus}))
        for gpus in (0, 1)
    )
    for one, other in zip(here.rounds, there.rounds, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
