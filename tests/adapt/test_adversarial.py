"""Adversaries between domains that no feature leaves: exact gradients, and rounds that learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fedsim.adapt.adversary import certainty, domain_logit, product, ramp, reverse
from fedsim.adapt.gls import ratios
from fedsim.client import Examples, Unlabelled
from fedsim.clients.adversarial import Adversarial
from fedsim.errors import RunError
from fedsim.models._state import load_weights, weights_of
from fedsim.models.mlp import MLP
from fedsim.plugins.registry import find
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.strategies._adversarial import AdversarialStrategy as Rule
from fedsim.strategies._domains import added
from fedsim.strategies.cdan import Cdan
from fedsim.strategies.dann import Dann
from fedsim.strategies.iwcdan import Iwcdan
from fedsim.strategies.iwdan import Iwdan
from fedsim.strategy import Server, ServerState
from fedsim.wire import ClientInfo, Instruction, Merged, Update
from tests.summed import summed

INFOS = [
    ClientInfo(0, 20, "a", "source"),
    ClientInfo(1, 7, "a", "source"),
    ClientInfo(2, 15, "b", "target"),
    ClientInfo(3, 6, "b", "target"),
]


def held_by(info: ClientInfo) -> Examples | Unlabelled:
    generator = torch_stream(info.id, "held")
    labels = torch.randint(3, (info.examples,), generator=generator)
    noise = torch.randn(info.examples, 4, generator=generator, dtype=torch.float64)
    inputs = noise + labels[:, None] + (info.role == "target")
    return Unlabelled(inputs) if info.role == "target" else Examples(inputs, labels)


@pytest.fixture
def model() -> MLP:
    with torch_defaults(0, "model"):
        return MLP((4,), 3, hidden=(6,)).double()


def state_of(rule: Rule, model: MLP, phase: str) -> ServerState:
    started = rule.begin(weights_of(model), INFOS)
    return replace(started, round=9, phase=phase)


def gathered(rule: Rule, model: MLP, state: ServerState) -> tuple[Merged, list[Update]]:
    updates = []
    for info in INFOS:
        load_weights(model, state.weights)
        instruction = Instruction(state.round, state.phase, info, rule.broadcast(state, info))
        verb = getattr(Adversarial(batch_size=64), state.phase)
        updates.append(verb(model, held_by(info), instruction, torch_stream(1, "c", info.id)))
    return summed(rule, updates, INFOS), updates


def with_ratios(rule: Rule, model: MLP, phase: str) -> ServerState:
    """Return a state whose ratios come from one phase of sums."""
    state = state_of(rule, model, rule.phases()[0])
    if state.phase == "gls":
        merged, _ = gathered(rule, model, state)
        state = rule.step(state, merged, Server(model, torch_stream(0, "server")))
    return replace(state, phase=phase)


PAPERS: dict[str, Any] = {"form": "exact", "dropout": 0.0}


@pytest.mark.parametrize(
    "rule",
    [
        Dann(**PAPERS),
        Cdan(**PAPERS),
        Iwdan(**PAPERS, class_loss="iw"),
        Iwcdan(**PAPERS),
        Cdan(**PAPERS, entropy=True),
        Iwcdan(**PAPERS, entropy=True),
        Dann(**PAPERS, normalize_features=True),
        Cdan(**PAPERS, domain_loss_cap=0.69),
    ],
    ids=["dann", "cdan", "iwdan", "iwcdan", "cdan+e", "iwcdan+e", "unit features", "cdan, capped"],
)
def test_the_exact_form_is_the_gradient_of_one_machine(rule: Rule, model: MLP) -> None:
    """Two clients of each domain against the papers' loss on the pooled examples."""
    state = with_ratios(rule, model, "gradient")
    merged, _ = gathered(rule, model, state)
    central = centralized(rule, model, state)
    deceit = added(merged, "deceit")
    of_model = {name: slope + deceit.get(name, 0) for name, slope in added(merged, "delta").items()}
    for name, slope in {**of_model, **added(merged, "adversary")}.items():
        sign = -1 if name in state.weights else 1
        assert float((sign * slope - central[name]).abs().max()) < 1e-12, name


def centralized(rule: Rule, model: MLP, state: ServerState) -> dict[str, torch.Tensor]:
    sent = rule.broadcast(state, INFOS[0])
    load_weights(model, state.weights)
    parts = [held_by(info) for info in INFOS]
    x_s, y = torch.cat([parts[0].inputs, parts[1].inputs]), torch.cat([p.labels for p in parts[:2]])
    x_t = torch.cat([parts[2].inputs, parts[3].inputs])
    psi = {k: v.clone().requires_grad_() for k, v in sent.extras["adversary"].items()}
    z, n = model.features(torch.cat([x_s, x_t])), len(x_s)
    logits = model.head(z)
    soft = logits.softmax(dim=1).detach()
    hidden = reverse(z, float(sent.settings["reversal"]))
    if rule.normalize_features:
        hidden = hidden / hidden.norm(dim=1, keepdim=True) * 6**0.5
    if rule.domain_loss_cap is not None:
        says = torch.sigmoid(domain_logit(psi, product(soft, hidden))).detach()
        fools = -torch.cat([says[:n], 1 - says[n:]]).log() > rule.domain_loss_cap
        assert 0 < fools.sum() < len(z)
        hidden = torch.where(fools[:, None], z.detach(), hidden)
    seen = product(soft, hidden) if sent.settings["conditional"] else hidden
    says = torch.sigmoid(domain_logit(psi, seen))
    sure = certainty(soft) if sent.settings["entropy"] else torch.ones(len(z)).double()
    shares = [part / part.sum() for part in (sure[:n], sure[n:])]
    one = torch.ones(3, dtype=torch.float64)
    weights = sent.extras.get("ratios", {"class": one, "domain": one})
    classify = (weights["class"][y] * F.cross_entropy(logits[:n], y, reduction="none")).mean()
    fooled = (shares[0] * weights["domain"][y] * says[:n].log()).sum()
    fooled = fooled + (shares[1] * (1 - says[n:]).log()).sum()
    (classify - rule.trade_off * fooled / 2).backward()  # type: ignore[no-untyped-call]
    found = {name: p.grad for name, p in [*model.named_parameters(), *psi.items()]}
    return {name: grad for name, grad in found.items() if grad is not None}


def test_the_ratios_that_a_source_is_sent_are_those_of_the_pool(model: MLP) -> None:
    rule = Iwdan(average=0.0, shrink=1.0)
    state = with_ratios(rule, model, "train")
    soft = [model(held_by(info).inputs).softmax(dim=1).detach() for info in INFOS]
    labels = torch.cat([held_by(info).labels for info in INFOS[:2]])
    confusion = torch.cat(soft[:2]).T @ F.one_hot(labels, 3).double()
    expected = ratios(confusion.numpy(), torch.cat(soft[2:]).sum(dim=0).numpy())
    sent = rule.broadcast(state, INFOS[0]).extras["ratios"]
    law = np.bincount(labels.numpy()) / len(labels)
    assert np.allclose(sent["domain"].numpy(), expected, atol=1e-10)
    assert np.allclose(sent["class"].numpy(), expected / (3 * law), atol=1e-10)
    assert "ratios" not in rule.broadcast(state, INFOS[2]).extras


def test_integer_ratios_are_duplicated_examples(model: MLP) -> None:
    one = torch.ones(3, dtype=torch.float64)
    rule, info = Dann(form="exact", dropout=0.0), INFOS[0]
    state = state_of(rule, model, "gradient")
    held = held_by(info)

    def slope(examples: Any, doubled: torch.Tensor) -> torch.Tensor:
        sent = rule.broadcast(state, info)
        weighted = replace(sent, extras={**sent.extras, "ratios": {"class": one, "domain": one}})
        weighted.extras["ratios"].update({"class": doubled, "domain": doubled})
        load_weights(model, state.weights)
        instruction = Instruction(9, "gradient", info, weighted)
        update = Adversarial(batch_size=64).gradient(
            model, examples, instruction, torch_stream(1, "c")
        )
        return torch.cat(
            [v.flatten() for v in {**update.delta, **update.extras["adversary"]}.values()]
        )

    twice = torch.cat([torch.arange(20), torch.nonzero(held.labels == 1).flatten()])
    copied = Examples(held.inputs[twice], held.labels[twice])
    doubled = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    assert torch.allclose(slope(held, doubled) * 20, slope(copied, one) * len(twice), atol=1e-12)


@pytest.mark.parametrize("phase", ["gradient", "adversary", "train"])
def test_ratios_of_one_leave_the_loss_as_it_is(phase: str, model: MLP) -> None:
    one = torch.ones(3, dtype=torch.float64)
    state = state_of(Dann(form="exact"), model, phase)
    plain = Dann(form="exact").broadcast(state, INFOS[0])
    told = replace(plain, extras={**plain.extras, "ratios": {"class": one, "domain": one}})
    found = []
    for sent in (plain, told):
        load_weights(model, state.weights)
        instruction = Instruction(9, phase, INFOS[0], sent)
        verb = getattr(Adversarial(batch_size=64), phase)
        update = verb(model, held_by(INFOS[0]), instruction, torch_stream(1, "c"))
        found.append({**update.delta, **update.extras.get("adversary", {})})
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_reversal_flips_gradients_and_nothing_else() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = reverse(x, 0.5)
    assert torch.equal(y, x)
    (y * torch.tensor([3.0, 4.0])).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [-1.5, -2.0]


def test_certain_predictions_count_twice_as_much() -> None:
    sure = certainty(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    assert torch.allclose(sure, torch.tensor([2.0, 1.5]), atol=1e-4)
    assert [ramp(t) for t in (-1, 0)] == [0, 0]
    assert ramp(1) > 0.999


def test_no_message_of_a_target_holds_a_label(model: MLP) -> None:
    """A target sends sums of predictions and gradients; nothing it is asked for needs labels."""
    for rule in (Iwdan(), Iwcdan(form="exact")):
        state = with_ratios(rule, model, rule.phases()[0])
        for phase in dict.fromkeys(rule.phases()):
            merged, updates = gathered(rule, model, replace(state, phase=phase))
            state = rule.step(replace(state, phase=phase), merged, Server(model, torch.Generator()))
            for update in updates[2:]:
                assert set(update.extras) <= {"adapts", "gls", "adversary"}
                for tensor in update.extras.get("gls", {}).values():
                    assert tensor.shape == (3,)
                    assert tensor.is_floating_point()
                assert update.examples == INFOS[update.client].examples


def test_a_federation_without_targets_is_refused(model: MLP) -> None:
    with pytest.raises(RunError, match=r"Dann adapts to target clients.*data\.partition"):
        Dann().begin(weights_of(model), INFOS[:2])
    with pytest.raises(RunError, match="learns from source clients"):
        Dann().begin(weights_of(model), INFOS[2:])
    with pytest.raises(RunError, match="linear layer called head"):
        Cdan().begin({"last.weight": torch.ones(3, 4)}, INFOS)


def test_batch_normalisation_is_refused(model: MLP) -> None:
    mixed = MLP((4,), 3, hidden=(6,)).double()
    mixed.body = torch.nn.Sequential(mixed.body, torch.nn.BatchNorm1d(6).double())
    state = state_of(Dann(), mixed, "adversary")
    with pytest.raises(RunError, match=r"batch normalisation \(body\.1\)"):
        gathered(Dann(), mixed, state)


def test_features_that_have_run_away_are_named_with_the_remedy(model: MLP) -> None:
    state = state_of(Dann(), model, "adversary")
    _, (update, *_) = gathered(Dann(), model, state)
    steep = {name: x + 1e7 for name, x in update.extras["adversary"].items()}
    with pytest.raises(
        RunError, match=r"1e\+07: features have run away from it; strategy.domain_loss_cap: 1\.4"
    ):
        Dann().addends(replace(update, extras={**update.extras, "adversary": steep}), INFOS[0])


METHODS = ("dann", "cdan", "iwdan", "iwcdan")


@pytest.mark.parametrize("name", METHODS)
def test_with_nothing_to_deceive_the_sources_alone_move_the_model(name: str, model: MLP) -> None:
    rule = find("strategy", name)(trade_off=0.0)
    state = with_ratios(rule, model, "train")
    merged, updates = gathered(rule, model, state)
    assert not any(bool(tensor.any()) for tensor in merged.means["delta.target"].values())
    assert any(bool(tensor.any()) for tensor in updates[0].delta.values())


@pytest.mark.parametrize("form", ["two_phase", "exact"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_by_its_name(name: str, form: str, two_domains, play) -> None:
    run = play(two_domains(strategy={"use": name, "form": form}, rounds=2))
    assert run.result.dropped == 0
    assert run.result.domains["plain"] > 0.1
