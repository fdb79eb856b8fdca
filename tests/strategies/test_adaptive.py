"""One and two steps of the adaptive server optimisers, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from fedsim.strategies._adaptive import AdaptiveServer
from fedsim.strategies.fedadagrad import FedAdagrad
from fedsim.strategies.fedadam import FedAdam
from fedsim.strategies.fedyogi import FedYogi
from fedsim.wire import ClientInfo, Merged

LR, TAU, DELTAS = 0.5, 0.1, (0.2, -0.4)


def adam(v: float, d: float) -> float:
    return 0.9 * v + 0.1 * d * d


def yogi(v: float, d: float) -> float:
    return v - 0.1 * d * d * math.copysign(1, v - d * d)


def adagrad(v: float, d: float) -> float:
    return v + d * d


@pytest.mark.parametrize(
    ("strategy", "second"),
    [
        (FedAdam(server_lr=LR, beta1=0.8, beta2=0.9, tau=TAU), adam),
        (FedYogi(server_lr=LR, beta1=0.8, beta2=0.9, tau=TAU), yogi),
        (FedAdagrad(server_lr=LR, beta1=0.8, tau=TAU), adagrad),
    ],
    ids=["fedadam", "fedyogi", "fedadagrad"],
)
def test_the_steps_are_algorithm_2_s(strategy: AdaptiveServer, second: type[float]) -> None:
    state = strategy.begin({"w": torch.tensor(1.0)}, [ClientInfo(0, 1)])
    weight, m, v = 1.0, 0.0, TAU**2
    for delta in DELTAS:
        merged = Merged({"delta": {"w": torch.tensor(delta, dtype=torch.float64)}})
        state = strategy.step(state, merged, None)  # type: ignore[arg-type]
        m, v = 0.8 * m + 0.2 * delta, second(v, delta)  # type: ignore[call-arg]
        weight += LR * m / (math.sqrt(v) + TAU)
        assert state.weights["w"].item() == pytest.approx(weight, abs=1e-7)
        assert state.memory["second"]["w"].item() == pytest.approx(v, abs=1e-15)


def test_yogi_s_second_moment_never_goes_below_zero() -> None:
    yogi_ = FedYogi()
    v = torch.tensor([1e-6, 1.0, 1e-6], dtype=torch.float64)
    for delta in (1.0, 1e-3, 0.0, 5.0):
        v = yogi_.second_moment(v, torch.tensor(delta, dtype=torch.float64))
        assert bool((v >= 0).all())
