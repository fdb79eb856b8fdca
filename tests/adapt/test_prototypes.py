"""Prototypes: nearest by the head, sure or left out, withheld where a class is too small."""

from __future__ import annotations

import pytest
import torch

from fedsim.adapt.prototypes import (
    class_sums,
    confident,
    mean_gap,
    nearest_head,
    squared_distances,
    updated,
)
from fedsim.client import Examples, Unlabelled
from fedsim.clients.prototypical import Prototypical
from fedsim.models._build import weights_of
from fedsim.models.mlp import MLP
from fedsim.seeds import torch_defaults
from fedsim.wire import Broadcast, ClientInfo, Task, Weights

MEANS = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
NEAR = torch.tensor([[0.1, 0.0], [3.0, 0.2], [2.0, 2.0], [0.3, 3.5]])


def test_the_head_chooses_the_nearest_prototype() -> None:
    weight, bias = nearest_head(MEANS)
    nearest = squared_distances(NEAR, MEANS).argmin(dim=1)
    assert torch.equal((NEAR @ weight.T + bias).argmax(dim=1)[[0, 1, 3]], nearest[[0, 1, 3]])
    soft = (-squared_distances(NEAR, MEANS) / 2).softmax(dim=1)
    assert torch.allclose((NEAR @ weight.T + bias).softmax(dim=1), soft, atol=1e-6)


def test_an_example_between_prototypes_is_not_sure() -> None:
    label, sure = confident(squared_distances(NEAR, MEANS), 0.9)
    assert sure.tolist() == [True, True, False, True]
    assert label[sure].tolist() == [0, 1, 2]


def test_the_gap_is_over_classes_that_both_domains_have() -> None:
    known = torch.tensor([True, True, False])
    labels = torch.tensor([0, 0, 2, 2])
    gap = mean_gap(NEAR, labels, MEANS, known)
    assert float(gap) == pytest.approx(float((NEAR[:2].mean(dim=0) - MEANS[0]).square().sum()))
    assert float(mean_gap(NEAR, labels, MEANS, known & False)) == 0


def test_a_class_without_examples_keeps_its_prototype() -> None:
    found = class_sums(NEAR, torch.tensor([0, 0, 1, 1]), 3)
    moved = updated(MEANS, found, keep=0.5)
    assert torch.equal(moved[2], MEANS[2])
    assert torch.allclose(moved[0], (MEANS[0] + NEAR[:2].mean(dim=0)) / 2)


def sent_by(held: Examples | Unlabelled, extras: dict[str, Weights], least: int) -> Weights:
    with torch_defaults(0, "model"):
        model = MLP((2,), 3, hidden=(4,))
    info = ClientInfo(0, len(held), "d", "target" if isinstance(held, Unlabelled) else "source")
    cast = Broadcast(weights_of(model), extras, {"classes": 3, "threshold": 0.4})
    half = Prototypical(min_examples=least)
    update = half.prototypes(model, held, Task(2, "prototypes", info, cast), torch.Generator())  # type: ignore[arg-type]
    return update.extras[f"{info.role}/d"]


def test_a_class_with_too_few_examples_is_not_sent() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    sent = sent_by(Examples(NEAR, labels), {}, least=2)
    assert sent["counts"].tolist() == [3, 0, 0]
    assert not sent["sums"][1].any()


def test_a_target_sends_nothing_before_there_are_prototypes() -> None:
    assert sent_by(Unlabelled(NEAR), {}, least=1) == {}
    with torch_defaults(0, "model"):
        means = MLP((2,), 3, hidden=(4,)).features(NEAR[[0, 1, 3]]).detach()
    sent = sent_by(Unlabelled(NEAR), {"prototypes": {"means": means}}, least=1)
    assert 0 <= float(sent["counts"].sum()) <= 4
