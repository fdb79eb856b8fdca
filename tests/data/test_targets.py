"""Labels of any kind, weights and token ids reach their clients as the source gave them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsim.client import Examples
from fedsim.data.dataset import Dataset
from fedsim.data.federated import FederatedData
from fedsim.data.resident import Resident
from fedsim.data.sources.npz import Npz
from fedsim.errors import DataError

Partition = Callable[..., FederatedData]
Toy = Callable[..., Dataset]

ROWS = np.arange(60)
LABELS = {
    "amounts": ROWS.astype(np.float32) / 7,
    "three amounts": np.stack([ROWS, -ROWS, ROWS**2], axis=1).astype(np.float32),
    "marks": np.stack([ROWS % 2, ROWS % 3], axis=1) == 0,
    "masks": ROWS[:, None, None] % 3 + np.zeros((1, 2, 4), np.int64),
    "counts": ROWS - 5,
}


def train(data: FederatedData, client: int) -> Examples:
    examples = data.train(client)
    assert isinstance(examples, Examples)
    return examples


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind_stay_with_their_inputs(
    toy: Toy, partitioned: Partition, kind: str
) -> None:
    labels = LABELS[kind]
    dataset = toy(labels=labels, classes=3 if kind == "masks" else 0)
    shares = {"client_val": Fraction(1, 5), "server_test": Fraction(1, 4)}
    data = partitioned(dataset, normalize=False, task="own", **shares)
    parts = [data.part(k, part) for k in range(4) for part in ("train", "val")]
    parts.append(data.server_test())
    rows = np.concatenate([part.inputs[:, 0].numpy() for part in parts]).astype(int)
    assert sorted(rows) == ROWS.tolist()
    seen = np.concatenate([part.labels.numpy() for part in parts])
    assert (seen == labels[rows]).all()
    assert {part.labels.numpy().dtype for part in parts} == {labels.dtype}


def test_weights_stay_with_their_examples(toy: Toy, partitioned: Partition) -> None:
    weight = (ROWS + 1).astype(np.float32)
    data = partitioned(
        toy(weight=weight), normalize=False, server_test=Fraction(1, 4), client_test=Fraction(1, 5)
    )
    for examples in (train(data, 2), data.part(1, "test"), data.server_test()):
        assert examples.weights is not None
        assert (examples.weights == examples.inputs[:, 0] + 1).all()
    assert data.pooled().weights is not None
    import torch

    again = Resident(data, torch.device("cpu"), room=0).train(2)
    assert isinstance(again, Examples)
    assert again.weights is not None
    assert again.weights.tolist() == (again.inputs[:, 0] + 1).tolist()


def test_without_weights_there_are_none(toy: Toy, partitioned: Partition) -> None:
    assert train(partitioned(toy()), 0).weights is None


def test_weights_and_kinds_of_labels_change_the_digest_and_nothing_else_does(
    toy: Toy, partitioned: Partition
) -> None:
    plain = partitioned(toy(), "a").digest
    # As version 0.1 wrote it: a run that was begun then can be resumed.
    assert plain == "f1e8b1251701b54f484da7cb405ee5027457a06efe73e6b6859e3b0ab2f9a8f4"
    assert partitioned(toy(weight=np.ones(60, np.float32)), "b").digest != plain
    assert partitioned(toy(labels=LABELS["amounts"], classes=0), "c", task="own").digest != plain


def test_token_ids_stay_integers_and_are_never_normalised(
    tmp_path: Path, partitioned: Partition
) -> None:
    ids = np.arange(600).reshape(60, 10) % 50
    np.savez(tmp_path / "a.npz", x=ids, y=ROWS % 3)
    tokens = partitioned(Npz("a.npz").load(1, tmp_path), "tokens", clients=1, normalize=True)
    assert train(tokens, 0).inputs.numpy().dtype == np.int64
    assert sorted(train(tokens, 0).inputs.tolist()) == sorted(ids.tolist())
    numbers = partitioned(Npz("a.npz", inputs_as="numbers").load(1, tmp_path), "numbers")
    assert train(numbers, 0).inputs.numpy().dtype == np.float32


@pytest.mark.parametrize(
    ("labels", "typed", "classes"),
    [
        ([0.5, 1.5], np.float32, 0),
        ([0, 2], np.int64, 3),
        ([False, True], np.int64, 2),
        ([[0, 1], [1, 1]], np.bool_, 0),
        ([[0, 1], [2, 1]], np.int64, 3),
        ([-3, 4], np.int64, 0),
        ([0, 2_000_000_000], np.int64, 0),
    ],
)
def test_labels_are_class_numbers_only_where_they_can_be(
    tmp_path: Path, labels: list[Any], typed: type, classes: int
) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3)), y=np.array(labels))
    dataset = Npz("a.npz").load(1, tmp_path)
    assert dataset.labels.dtype == np.dtype(typed)
    assert dataset.classes == classes


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (LABELS["amounts"], 0, "labels are float32; .* say task: regression"),
        (LABELS["counts"], 0, "go from -5 to 54; class numbers are integers from 0 to 65535"),
        (LABELS["marks"], 0, r"have the shape \(2,\); a classification takes one class number"),
        (LABELS["masks"], 3, r"have the shape \(2, 4\)"),
    ],
)
def test_a_classification_refuses_what_are_no_class_numbers(
    toy: Toy, partitioned: Partition, labels: np.ndarray, classes: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        partitioned(toy(labels=labels, classes=classes))


def test_a_regression_takes_integers_as_amounts(toy: Toy, partitioned: Partition) -> None:
    data = partitioned(toy(), task="regression", server_test=Fraction(1, 4))
    assert data.classes == 0
    assert {part.labels.numpy().dtype for part in (train(data, 0), data.server_test())} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight": np.zeros(60, np.float32)}, "not all of them 0"),
        ({"weight": -np.ones(60, np.float32)}, "must be 0 or more"),
        ({"weight": np.ones(59, np.float32)}, r"float32 \(59,\) where float32 \(60,\)"),
        ({"weight": np.full(60, np.nan, np.float32)}, "weights hold 60 values that are NaN"),
        ({"labels": np.ones(59, np.float32), "classes": 0}, "there are 59 labels for 60 inputs"),
        ({"labels": np.full(60, np.inf, np.float32), "classes": 0}, "labels hold 60 values"),
        ({"labels": np.full((60, 2), 3), "classes": 3}, "go up to 3, of 3 that there are"),
        ({"inputs": np.full((60, 2), -1)}, "token ids start from 0"),
    ],
)
def test_what_nothing_can_be_trained_on_is_refused(
    toy: Toy, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        toy(**fields)
