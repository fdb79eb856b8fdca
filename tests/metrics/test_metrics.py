"""Every metric against scikit-learn, over any split into clients, in any order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
from numpy.typing import NDArray

from fedsim.metrics.metric import Sums
from fedsim.metrics.pooling import pooled
from fedsim.metrics.shelf import METRICS
from fedsim.task import TargetSpec, Task
from fedsim.tasks._measures import Measures
from fedsim.tasks.binary import Binary
from fedsim.tasks.classification import Classification
from fedsim.tasks.multilabel import Multilabel
from fedsim.tasks.next_token import NextToken
from fedsim.tasks.regression import Regression
from fedsim.tasks.segmentation import Segmentation

CLASSES, LABELS = 4, 3
Values = NDArray[Any]


def drawn(task: Task, rows: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return outputs and targets, ties and absent classes among them."""
    if isinstance(task, Binary):
        return torch.from_numpy(rng.normal(size=(rows, 1)).round(1)), integers(rng, 2, rows)
    if isinstance(task, Multilabel):
        return torch.from_numpy(rng.normal(size=(rows, LABELS)).round(1)), integers(
            rng, 2, rows, LABELS
        ).bool()
    if isinstance(task, Regression):
        targets = torch.from_numpy(rng.normal(3.0, 2.0, size=(rows, 2))).float()
        return targets.double() + torch.from_numpy(rng.normal(size=(rows, 2))), targets
    if isinstance(task, Segmentation):
        return torch.from_numpy(rng.normal(size=(rows, CLASSES, 3, 3))), integers(
            rng, CLASSES - 1, rows, 3, 3
        )
    if isinstance(task, NextToken):
        targets = integers(rng, 7, rows, 5)
        targets[:, -1] = torch.where(targets[:, -1] > 3, -1, targets[:, -1])
        return torch.from_numpy(rng.normal(size=(rows, 5, 7))), targets
    return torch.from_numpy(rng.normal(size=(rows, CLASSES)).round(1)), integers(
        rng, CLASSES - int(rng.integers(0, 2)), rows
    )


def integers(rng: np.random.Generator, high: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.integers(0, high, shape))


def sums_of(measures: Measures, outputs: torch.Tensor, targets: torch.Tensor) -> Sums:
    batch = measures.task.scored(outputs, targets)
    return {name: value.numpy() for name, value in measures.sums(batch).items()}


def split(
    measures: Measures, data: tuple[torch.Tensor, torch.Tensor], rng: np.random.Generator
) -> list[Sums]:
    """Return the sums of up to 50 clients that share the examples."""
    outputs, targets = data
    clients = int(rng.integers(1, min(50, len(targets)) + 1))
    owner = rng.integers(0, clients, len(targets))
    parts = (torch.from_numpy(np.flatnonzero(owner == k)) for k in range(clients))
    return [sums_of(measures, outputs[rows], targets[rows]) for rows in parts if len(rows)]


def ece(probabilities: Values, targets: Values) -> float:
    confidence, labels = probabilities.max(axis=1), probabilities.argmax(axis=1)
    edges, error = np.linspace(0, 1, 16), 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            right = (labels[inside] == targets[inside]).mean()
            error += inside.mean() * abs(right - confidence[inside].mean())
    return float(error)


def with_classes(outputs: Values, targets: Values) -> Mapping[str, float]:
    labels = outputs.argmax(axis=1)
    soft = torch.from_numpy(outputs).softmax(dim=1).numpy()
    known, zero = list(range(CLASSES)), {"zero_division": 0}
    return {
        "accuracy": oracle.accuracy_score(targets, labels),
        "balanced_accuracy": oracle.recall_score(
            targets, labels, average="macro", labels=np.unique(targets), **zero
        ),
        "precision_macro": oracle.precision_score(targets, labels, average="macro", **zero),
        "recall_macro": oracle.recall_score(targets, labels, average="macro", **zero),
        "f1_macro": oracle.f1_score(targets, labels, average="macro", **zero),
        "f1_weighted": oracle.f1_score(targets, labels, average="weighted", **zero),
        "jaccard_macro": oracle.jaccard_score(targets, labels, average="macro", **zero),
        "kappa": oracle.cohen_kappa_score(targets, labels),
        "mcc": oracle.matthews_corrcoef(targets, labels),
        "log_loss": oracle.log_loss(targets, soft, labels=known),
        "brier": float(((soft - np.eye(CLASSES)[targets]) ** 2).sum(axis=1).mean()),
        "ece": ece(soft, targets),
        "loss": oracle.log_loss(targets, soft, labels=known),
    }


def with_two(outputs: Values, targets: Values) -> Mapping[str, float]:
    score = outputs[:, 0]
    labels, soft = (score > 0).astype(int), 1 / (1 + np.exp(-score))
    zero = {"zero_division": 0}
    return {
        "accuracy": oracle.accuracy_score(targets, labels),
        "precision": oracle.precision_score(targets, labels, **zero),
        "recall": oracle.recall_score(targets, labels, **zero),
        "f1": oracle.f1_score(targets, labels, **zero),
        "jaccard": oracle.jaccard_score(targets, labels, **zero),
        "mcc": oracle.matthews_corrcoef(targets, labels),
        "log_loss": oracle.log_loss(targets, soft, labels=[0, 1]),
        "brier": oracle.brier_score_loss(targets, soft),
        "ece": ece(np.stack([1 - soft, soft], axis=1), targets),
        "loss": oracle.log_loss(targets, soft, labels=[0, 1]),
    }


def with_labels(outputs: Values, targets: Values) -> Mapping[str, float]:
    labels, zero = outputs > 0, {"zero_division": 0}
    return {
        "label_f1_micro": oracle.f1_score(targets, labels, average="micro", **zero),
        "label_f1": oracle.f1_score(targets, labels, average="macro", **zero),
        "label_precision": oracle.precision_score(targets, labels, average="macro", **zero),
        "label_recall": oracle.recall_score(targets, labels, average="macro", **zero),
        "label_jaccard": oracle.jaccard_score(targets, labels, average="macro", **zero),
        "exact_match": oracle.accuracy_score(targets, labels),
    }


def with_numbers(outputs: Values, targets: Values) -> Mapping[str, float]:
    correlation = [np.corrcoef(outputs[:, k], targets[:, k])[0, 1] for k in range(2)]
    return {
        "mse": oracle.mean_squared_error(targets, outputs),
        "rmse": oracle.root_mean_squared_error(targets, outputs),
        "mae": oracle.mean_absolute_error(targets, outputs),
        "r2": oracle.r2_score(targets, outputs),
        "pearson": float(np.mean(correlation)),
    }


def with_places(outputs: Values, targets: Values) -> Mapping[str, float]:
    labels = outputs.argmax(axis=1)
    flat, zero = (targets.ravel(), labels.ravel()), {"zero_division": 0}
    return {
        "dice": oracle.f1_score(*flat, average="macro", **zero),
        "iou": oracle.jaccard_score(*flat, average="macro", **zero),
        "pixel_accuracy": oracle.accuracy_score(*flat),
        "dice_image": float(
            np.mean(
                [
                    oracle.f1_score(mine.ravel(), theirs.ravel(), average="macro", **zero)
                    for mine, theirs in zip(targets, labels, strict=True)
                ]
            )
        ),
    }


def with_tokens(outputs: Values, targets: Values) -> Mapping[str, float]:
    counted = targets >= 0
    soft = torch.from_numpy(outputs).softmax(dim=-1).numpy()[counted]
    loss = oracle.log_loss(targets[counted], soft, labels=list(range(7)))
    right = oracle.accuracy_score(targets[counted], soft.argmax(axis=1))
    return {"token_accuracy": right, "perplexity": math.exp(loss), "loss": loss}


KINDS: dict[str, tuple[Task, Callable[[Values, Values], Mapping[str, float]]]] = {
    "classification": (Classification(targets=TargetSpec(classes=CLASSES)), with_classes),
    "binary": (Binary(targets=TargetSpec(classes=2)), with_two),
    "multilabel": (Multilabel(targets=TargetSpec((LABELS,), "bool")), with_labels),
    "regression": (
        Regression(
            targets=TargetSpec((2,), "float32", centre=(3.0, 3.1), spread=(2.0, 2.0)),
            standardise=False,
        ),
        with_numbers,
    ),
    "segmentation": (Segmentation(targets=TargetSpec((3, 3), classes=CLASSES)), with_places),
    "next_token": (NextToken(targets=TargetSpec((5,), classes=7)), with_tokens),
}


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_equal_scikit_learns_over_any_split_and_order(kind: str) -> None:
    task, expected = KINDS[kind]
    rng = np.random.default_rng(7)
    for _ in range(200 if kind != "segmentation" else 40):
        data = drawn(task, int(rng.integers(20, 120)), rng)
        wanted = expected(data[0].numpy(), data[1].numpy())
        measures = Measures.of(task, list(wanted))
        parts = split(measures, data, rng)
        values = measures.values(pooled(parts))
        for name, value in wanted.items():
            assert values[name] == pytest.approx(value, abs=1e-9, rel=1e-9), name
        again = [parts[int(k)] for k in rng.permutation(len(parts))]
        assert measures.values(pooled(again)) == values


def test_every_metric_is_compared_with_scikit_learn_somewhere() -> None:
    covered = {"auroc", "average_precision", "c_index_within", "top_5_accuracy"}
    for task, expected in KINDS.values():
        outputs, targets = drawn(task, 30, np.random.default_rng(1))
        covered |= set(expected(outputs.numpy(), targets.numpy()))
    assert covered == set(METRICS)


def test_top_5_counts_the_lowest_classes_of_equal_logits() -> None:
    task = Classification(targets=TargetSpec(classes=8))
    measures = Measures.of(task, ["top_5_accuracy"])
    outputs = torch.zeros(8, 8)
    value = measures.values(sums_of(measures, outputs, torch.arange(8)))["top_5_accuracy"]
    assert value == 5 / 8


def test_r2_of_large_targets_loses_no_digits() -> None:
    rng = np.random.default_rng(3)
    targets = torch.from_numpy(1e6 + rng.normal(size=(5000, 1)))
    outputs = targets + 0.3 * torch.from_numpy(rng.normal(size=(5000, 1)))
    spec = TargetSpec((1,), "float64", centre=(float(targets[:4000].mean()),), spread=(1.0,))
    measures = Measures.of(Regression(targets=spec, standardise=False), ["r2"])
    value = measures.values(pooled(split(measures, (outputs, targets), rng)))["r2"]
    assert value == pytest.approx(oracle.r2_score(targets.numpy(), outputs.numpy()), abs=1e-9)


def test_weights_weigh_the_sums() -> None:
    rng = np.random.default_rng(5)
    task = KINDS["classification"][0]
    outputs, targets = drawn(task, 100, rng)
    weights = torch.from_numpy(rng.random(100))
    measures = Measures.of(task, ["accuracy", "f1_macro", "brier", "log_loss"])
    batch = task.scored(outputs, targets, weights)
    values = measures.values({k: v.numpy() for k, v in measures.sums(batch).items()})
    y, labels, w = targets.numpy(), outputs.argmax(dim=1).numpy(), weights.numpy()
    soft = outputs.softmax(dim=1).numpy()
    assert values["accuracy"] == pytest.approx(oracle.accuracy_score(y, labels, sample_weight=w))
    assert values["f1_macro"] == pytest.approx(
        oracle.f1_score(y, labels, average="macro", sample_weight=w)
    )
    assert values["log_loss"] == pytest.approx(
        oracle.log_loss(y, soft, sample_weight=w, labels=list(range(CLASSES)))
    )


def test_what_nothing_defines_is_not_a_number() -> None:
    measures = Measures.of(KINDS["binary"][0], ["auroc", "accuracy"])
    ones = torch.ones(4, dtype=torch.int64)
    values = measures.values(sums_of(measures, torch.zeros(4, 1), ones))
    assert math.isnan(values["auroc"])
    assert values["accuracy"] == 0.0
    assert all(math.isnan(value) for value in measures.values({}).values())
