"""Prototypes: nearest by the head, sure or left out, withheld where a class is too small."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from fedsim.adapt.prototypes import (
    class_sums,
    confident,
    first_prototypes,
    mean_gap,
    nearest_head,
    squared_distances,
    updated,
)
from fedsim.client import Examples, Unlabelled
from fedsim.clients.prototypical import Prototypical
from fedsim.models._state import load_weights, weights_of
from fedsim.models.mlp import MLP
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.strategies.dmpn import Dmpn
from fedsim.strategy import Server
from fedsim.wire import Broadcast, ClientInfo, Instruction, Weights
from tests.summed import summed

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
    instruction = Instruction(2, "prototypes", info, cast)
    update = half.prototypes(model, held, instruction, torch.Generator())  # type: ignore[arg-type]
    return update.extras["class-sums"]


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


INFOS = [
    ClientInfo(0, 12, "a", "source"),
    ClientInfo(1, 9, "a", "source"),
    ClientInfo(2, 15, "b", "target"),
]


def held_by(info: ClientInfo) -> Examples | Unlabelled:
    generator = torch_stream(info.id, "held")
    labels = torch.arange(info.examples) % 3
    centres = torch.eye(3, 5, dtype=torch.float64)[labels] * 3
    inputs = centres + torch.randn(info.examples, 5, generator=generator, dtype=torch.float64)
    return Unlabelled(inputs + 0.3) if info.role == "target" else Examples(inputs, labels)


def test_a_round_of_one_step_is_a_step_of_one_machine() -> None:
    """Six rounds of whole batches against the reconstruction's loss, descended in one place."""
    rule = Dmpn(
        prototype_std=1.0,
        warm_up=0,
        ramp_rounds=6,
        threshold=0.5,
        mean_matching=0.3,
        likelihood=0.2,
    )
    half = Prototypical(lr=0.05, steps=1, batch_size=64, max_norm=1e9)
    with torch_defaults(0, "model"):
        model = MLP((5,), 3, hidden=(6,)).double()
    state = rule.begin(weights_of(model), INFOS)
    central = {name: value.clone() for name, value in state.weights.items()}
    for number in range(1, 7):
        state, updates = replace(state, round=number, phase="train"), []
        for info in INFOS:
            load_weights(model, state.weights)
            instruction = Instruction(number, "train", info, rule.broadcast(state, info))
            updates.append(half.train(model, held_by(info), instruction, torch_stream(number, "c")))  # type: ignore[arg-type]
        state = rule.step(state, summed(rule, updates, INFOS), Server(model, torch.Generator()))
        central = stepped(central, rule, 2 / (1 + math.exp(-10 * number / 6)) - 1)
        for name, value in state.weights.items():
            assert float((value - central[name]).abs().max()) < 1e-10, (number, name)


def stepped(weights: Weights, rule: Dmpn, strength: float) -> Weights:
    """Return the weights after one step on the whole loss, sample by sample."""
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    mu = leaves["head.weight"]

    def features(inputs: torch.Tensor) -> torch.Tensor:
        return F.relu(F.linear(inputs, leaves["body.1.weight"], leaves["body.1.bias"]))

    parts = [held_by(info) for info in INFOS]
    x, y = torch.cat([p.inputs for p in parts[:2]]), torch.cat([p.labels for p in parts[:2]])
    z, sure = features(x), dict[int, list[torch.Tensor]]()
    classify = sum(
        -(-(row - mu).square().sum(dim=1) / 2).log_softmax(dim=0)[label]
        + rule.compactness * (row - mu[label]).square().sum() / 2
        for row, label in zip(z, y, strict=True)
    )
    for row in features(parts[2].inputs):
        likely = (-(row - mu).square().sum(dim=1) / 2).softmax(dim=0)
        if float(likely.detach().max()) > rule.threshold:
            sure.setdefault(int(likely.argmax()), []).append(row)
    kept = sum(len(rows) for rows in sure.values())
    assert 0 < kept <= 15
    near = sum((row - mu[c]).square().sum() / 2 for c, rows in sure.items() for row in rows) / kept
    gap = sum((mu[c] - torch.stack(rows).mean(dim=0)).square().sum() for c, rows in sure.items())
    whole = classify / len(y) + strength * (
        rule.likelihood * near + rule.mean_matching * gap / len(sure)
    )
    found = torch.autograd.grad(whole, list(leaves.values()), allow_unused=True)
    return {
        name: leaf.detach() - (0 if slope is None else 0.05 * slope)
        for (name, leaf), slope in zip(leaves.items(), found, strict=True)
    }


def test_first_prototypes_are_far_apart_and_follow_the_model_s_start() -> None:
    like = torch.rand(10, 32, generator=torch_stream(0, "like"))
    first = first_prototypes(like, 2.0)
    assert torch.equal(first, first_prototypes(like, 2.0))
    assert not torch.equal(first, first_prototypes(like + 1, 2.0))
    assert float(first.std()) == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("kind", ["learnt", "means"])
def test_both_kinds_of_prototypes_run(kind: str, two_domains, play) -> None:
    run = play(two_domains(strategy={"use": "dmpn", "prototypes": kind, "warm_up": 0}, rounds=3))
    assert run.result.dropped == 0
    assert run.result.domains["plain"] > 0.1
