"""AUROC and average precision: exact in one place, within their bound from pooled bins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
from numpy.typing import NDArray

from fedsim.metrics import ranking
from fedsim.metrics.concordance import Concordance
from fedsim.metrics.scored import ScoredBatch
from fedsim.task import TargetSpec
from fedsim.tasks._measures import Measures
from fedsim.tasks.binary import Binary

BOTH = Measures.of(Binary(targets=TargetSpec(classes=2)), ["auroc", "average_precision"])


def binned(
    scores: NDArray[Any], targets: NDArray[Any]
) -> tuple[dict[str, float], dict[str, float]]:
    outputs = torch.from_numpy(scores)[:, None]
    batch = BOTH.task.scored(outputs, torch.from_numpy(targets))
    sums = {name: value.numpy() for name, value in BOTH.sums(batch).items()}
    return BOTH.values(sums), BOTH.bounds(sums)


def test_the_exact_value_is_within_the_bound_in_a_thousand_cases() -> None:
    rng = np.random.default_rng(11)
    for _ in range(1000):
        rows = int(rng.integers(5, 300))
        targets = (rng.random(rows) < rng.uniform(0.05, 0.95)).astype(int)
        if targets.min() == targets.max():
            targets[0] = 1 - targets[0]
        scores = rng.normal(targets * rng.uniform(0, 3), rng.choice([0.002, 1.0, 8.0]))
        scores = scores.round(int(rng.integers(1, 6)))  # ties
        values, bounds = binned(scores, targets)
        exact = {
            "auroc": oracle.roc_auc_score(targets, scores),
            "average_precision": oracle.average_precision_score(targets, scores),
        }
        for name, value in exact.items():
            assert abs(values[name] - value) <= bounds[name] + 1e-12, name


def test_in_one_place_they_equal_scikit_learns() -> None:
    rng = np.random.default_rng(2)
    for _ in range(100):
        targets = np.r_[0, 1, rng.integers(0, 2, 60)]
        scores, weights = rng.normal(size=62).round(1), rng.random(62)
        for w in (None, weights):
            mine = ranking.exact_auroc(scores, targets, w)
            assert mine == pytest.approx(oracle.roc_auc_score(targets, scores, sample_weight=w))
            mine = ranking.exact_precision(scores, targets, w)
            theirs = oracle.average_precision_score(targets, scores, sample_weight=w)
            assert mine == pytest.approx(theirs)
    marks, several = rng.integers(0, 2, (40, 3)), rng.normal(size=(40, 3))
    assert ranking.exact_auroc(several, marks, None) == pytest.approx(
        oracle.roc_auc_score(marks, several, average="macro")
    )


@pytest.mark.parametrize(
    ("positives", "rows", "apart", "most"),
    [(0.5, 20_000, 1.5, 2e-3), (0.01, 50_000, 2.0, 3e-3), (0.5, 20_000, 12.0, 1e-6)],
)
def test_the_bounds_are_small_where_they_have_to_be(positives, rows, apart, most) -> None:
    rng = np.random.default_rng(1)
    targets = (rng.random(rows) < positives).astype(int)
    _, bounds = binned(rng.normal(apart * targets - apart / 2, 1.0), targets)
    assert bounds["auroc"] <= 1e-3
    assert bounds["average_precision"] <= most


def test_concordance_counts_every_pair_as_a_loop_does() -> None:
    rng = np.random.default_rng(4)
    time, event = rng.integers(1, 8, 40).astype(float), rng.integers(0, 2, 40)
    risk = rng.normal(size=40).round(1)
    counts = {"concordant": 0, "tied": 0, "comparable": 0}
    for i in range(40):
        for j in range(40):
            if event[i] and (time[j] > time[i] or (time[j] == time[i] and not event[j])):
                counts["comparable"] += 1
                counts["concordant"] += int(risk[i] > risk[j])
                counts["tied"] += int(risk[i] == risk[j])
    targets, zero = torch.from_numpy(np.stack([time, event], axis=1)), torch.zeros(())
    batch = ScoredBatch({"scores": torch.from_numpy(risk)}, targets, zero, zero)
    assert {name: int(v) for name, v in Concordance().sums(batch).items()} == counts
