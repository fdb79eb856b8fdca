"""FedMM and the exchange of features: their equations, and what they refuse to send."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fedsim.adapt.adversary import cut, domain_logit, domain_losses, reverse, unit_length
from fedsim.client import Examples, Unlabelled
from fedsim.clients.adversarial import Adversarial
from fedsim.errors import RunError
from fedsim.models._state import load_weights, weights_of
from fedsim.models.mlp import MLP
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.strategies._adversarial import AdversarialStrategy as Rule
from fedsim.strategies.cdan import Cdan
from fedsim.strategies.dann import Dann
from fedsim.strategies.iwdan import Iwdan
from fedsim.strategy import Server, ServerState
from fedsim.wire import ClientInfo, Instruction, Update, Weights
from tests.summed import summed

INFOS = [
    ClientInfo(0, 12, "a", "source"),
    ClientInfo(1, 6, "a", "source"),
    ClientInfo(2, 9, "b", "target"),
]
HALF = Adversarial(lr=0.1, steps=2, batch_size=64, max_norm=1e9)


def held_by(info: ClientInfo) -> Examples | Unlabelled:
    generator = torch_stream(info.id, "held")
    inputs = torch.randn(info.examples, 4, generator=generator, dtype=torch.float64)
    labels = torch.arange(info.examples) % 3
    return Unlabelled(inputs + 1) if info.role == "target" else Examples(inputs, labels)


@pytest.fixture
def model() -> MLP:
    with torch_defaults(0, "model"):
        return MLP((4,), 3, hidden=(6,)).double()


def turn(
    rule: Rule,
    half: Adversarial,
    model: MLP,
    state: ServerState,
    kept: dict[int, dict[str, Weights]],
) -> tuple[ServerState, list[Update]]:
    updates = []
    for info in INFOS:
        load_weights(model, state.weights)
        told = Instruction(
            state.round, state.phase, info, rule.broadcast(state, info), kept.get(info.id, {})
        )
        generator = torch_stream(state.round, "c", info.id)
        updates.append(getattr(half, state.phase)(model.train(), held_by(info), told, generator))
        kept[info.id] = dict(updates[-1].memory)
    server = Server(model, torch_stream(0, "server"))
    return rule.step(state, summed(rule, updates, INFOS), server), updates


def slow_fedmm(rule: Rule, model: MLP, state: ServerState, rounds: range) -> Weights:
    """The authors' loop, written out for batches of everything: one machine plays all clients."""
    v: Weights = {**state.weights, **state.memory["adversary"]}
    v = {name: value.clone() for name, value in v.items()}
    duals = [{name: torch.zeros_like(value) for name, value in v.items()} for _ in INFOS]
    share = [12 / 18 / 2, 6 / 18 / 2, 1 / 2]
    for number in rounds:
        said = rule.broadcast(replace(state, round=number), INFOS[0]).settings
        sent = []
        for info, dual in zip(INFOS, duals, strict=True):
            here = {name: value.clone() for name, value in v.items()}
            for _ in range(2):
                slopes = slope_of(model, here, info, float(said["reversal"]))
                for name in here:
                    pull = rule.penalty * (here[name] - v[name])
                    here[name] = here[name] - 0.1 * (slopes[name] + dual[name] + pull)
            for name in dual:
                dual[name] = dual[name] + rule.penalty * (here[name] - v[name])
            grown = rule.penalty * 1.02 ** (number / 100)
            sent.append({name: here[name] + dual[name] / grown for name in here})
        v = {
            name: sum((p * one[name] for p, one in zip(share, sent, strict=True)), torch.zeros(()))
            for name in v
        }
    return v


def slope_of(model: MLP, at: Weights, info: ClientInfo, reversal: float) -> Weights:
    leaves = {name: value.clone().requires_grad_() for name, value in at.items()}
    held = held_by(info)
    z = F.relu(F.linear(held.inputs, leaves["body.1.weight"], leaves["body.1.bias"]))
    loss = (
        domain_losses(domain_logit(leaves, reverse(z, reversal)), info.role == "source").mean() / 2
    )
    if isinstance(held, Examples):
        logits = F.linear(z, leaves["head.weight"], leaves["head.bias"])
        loss = loss + F.cross_entropy(logits, held.labels)
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if slope is None else slope
        for (name, leaf), slope in zip(leaves.items(), found, strict=True)
    }


def test_fedmm_is_the_authors_loop(model: MLP) -> None:
    """Three rounds with duals that clients keep, against one machine that plays them all."""
    rule = Dann(form="fedmm", dropout=0.0, warm_up=0, penalty=0.5)
    state, kept = rule.begin(weights_of(model), INFOS), dict[int, dict[str, Weights]]()
    expected = slow_fedmm(rule, model, state, range(30, 33))
    for number in range(30, 33):
        state, updates = turn(
            rule, HALF, model, replace(state, round=number, phase="primal_dual"), kept
        )
        assert all(set(update.extras) == {"adversary", "adapts"} for update in updates)
    for name, value in {**state.weights, **state.memory["adversary"]}.items():
        assert float((value - expected[name]).abs().max()) < 1e-12, name


BLURRED = replace(HALF, feature_clip=0.5, feature_noise=1e-9)


def test_features_leave_cut_and_the_server_s_step_is_the_pooled_one(model: MLP) -> None:
    rule = Dann(form="features", dropout=0.0, adversary_steps=1, adversary_momentum=0.0)
    state = replace(rule.begin(weights_of(model), INFOS), round=9, phase="embed")
    after, updates = turn(rule, BLURRED, model, state, {})
    psi = {n: x.clone().requires_grad_() for n, x in state.memory["adversary"].items()}
    load_weights(model, state.weights)
    parts: dict[str, list[Tensor]] = {"source": [], "target": []}
    for info, update in zip(INFOS, updates, strict=True):
        rows = update.extras["rows"]["rows"]
        assert float(rows.norm(dim=1).max()) < 0.5 + 1e-6
        parts[info.role].append(cut(model.features(held_by(info).inputs).detach(), 0.5))
    loss = sum(
        domain_losses(domain_logit(psi, torch.cat(rows)), role == "source").mean() / 2
        for role, rows in parts.items()
    )
    slopes = torch.autograd.grad(loss, list(psi.values()))  # type: ignore[arg-type]
    for (name, value), slope in zip(psi.items(), slopes, strict=True):
        moved = value.detach() - rule.adversary_lr * slope
        assert float((after.memory["adversary"][name] - moved).abs().max()) < 1e-6


def test_the_noise_on_features_is_as_large_as_said(model: MLP) -> None:
    rule = Dann(form="features")
    state = replace(rule.begin(weights_of(model), INFOS), round=9, phase="embed")
    sent = []
    for noise in (1e-9, 2.0):
        _, updates = turn(rule, replace(BLURRED, feature_noise=noise), model, state, {})
        sent.append(torch.cat([update.extras["rows"]["rows"] for update in updates]))
    assert float((sent[1] - sent[0]).std()) == pytest.approx(0.5 * 2.0, rel=0.2)


BARE = [replace(BLURRED, feature_clip=None), replace(BLURRED, feature_noise=None)]


@pytest.mark.parametrize("bare", BARE, ids=["clip", "noise"])
def test_features_without_clip_or_noise_do_not_leave(bare: Adversarial, model: MLP) -> None:
    rule = Dann(form="features")
    for phase in ("embed", "train"):
        state = replace(rule.begin(weights_of(model), INFOS), round=9, phase=phase)
        with pytest.raises(RunError, match=r"needs local\.feature_clip and local\.feature_noise"):
            turn(rule, bare, model, state, {})


@pytest.mark.parametrize("rule", [Iwdan(form="features"), Cdan(form="features", entropy=True)])
def test_rows_without_labels_cannot_be_weighted(rule: Rule, model: MLP) -> None:
    with pytest.raises(RunError, match="cannot be weighted"):
        rule.begin(weights_of(model), INFOS)


def test_longer_features_deceive_nobody_once_they_have_unit_length(model: MLP) -> None:
    rows = torch.randn(5, 6, generator=torch_stream(0, "z"), dtype=torch.float64)
    assert torch.allclose(unit_length(7 * rows), unit_length(rows))
    assert torch.allclose(unit_length(rows).square().mean(dim=1), torch.ones(5).double())


BOTH = {"use": "dann", "form": "features"}


@pytest.mark.parametrize(
    ("strategy", "local"),
    [
        ({"use": "cdan", "form": "fedmm"}, {}),
        ({"use": "iwdan", "form": "fedmm"}, {}),
        (BOTH, {"feature_clip": 1.0, "feature_noise": 1.0}),
        ({"use": "dann", "normalize_features": True}, {}),
        ({"use": "iwcdan", "domain_loss_cap": 1.4}, {}),
    ],
)
def test_every_form_runs_from_a_scenario(strategy, local, two_domains, play) -> None:
    run = play(two_domains(strategy=strategy, local={"lr": 0.05, **local}, rounds=2))
    assert run.result.dropped == 0
    assert run.result.domains["plain"] > 0.1
