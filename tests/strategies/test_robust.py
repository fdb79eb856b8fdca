"""The strategies that look at every update whole."""

from __future__ import annotations

import pytest
import torch

from fedsim.strategies.fedmedian import FedMedian
from fedsim.strategies.fedtrimmedavg import FedTrimmedAvg
from fedsim.wire import Update


def test_fedmedian_ignores_an_outlier() -> None:
    deltas = [1.0, 2.0, 1e9]
    merged = FedMedian().aggregate(
        [Update(k, {"w": torch.tensor(d)}, 1) for k, d in enumerate(deltas)]
    )
    assert merged.delta["w"].item() == 2.0


def test_fedtrimmedavg_trims_whole_clients_off_each_end() -> None:
    updates = [Update(k, {"w": torch.tensor(float(k * k))}, 1) for k in range(5)]
    assert FedTrimmedAvg(trim=0.2).aggregate(updates).delta["w"].item() == (1 + 4 + 9) / 3
    assert FedTrimmedAvg(trim=0.19).aggregate(updates).delta["w"].item() == 30 / 5


@pytest.mark.parametrize("strategy", [FedMedian(), FedTrimmedAvg(trim=0.0)], ids=["median", "trim"])
def test_clients_without_examples_have_no_vote(strategy: FedMedian) -> None:
    updates = [Update(k, {"w": torch.tensor(0.0)}, 0) for k in range(3)]
    updates.append(Update(3, {"w": torch.tensor(7.0)}, 2))
    assert strategy.aggregate(updates).delta["w"].item() == 7.0
