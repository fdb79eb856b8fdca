"""Statistics under privacy: no example moves a sum further than its sensitivity says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.adapt.features import JointFeatures, random_features
from fedsim.adapt.gls import confusion_sum
from fedsim.adapt.joint_matching import moments_of, unit_rows
from fedsim.adapt.prototypes import class_sums
from fedsim.adapt.sensitivity import (
    CONFUSION,
    PREDICTION,
    RANDOM_FEATURES,
    UNIT_MOMENTS,
    joint_features,
)
from fedsim.adapt.sensitivity import class_sums as of_class_sums
from fedsim.client import Examples, Unlabelled
from fedsim.clients.private_adversarial import PrivateAdversarial
from fedsim.errors import RunError, ScenarioError
from fedsim.models._state import load_weights, weights_of
from fedsim.models.mlp import MLP
from fedsim.privacy.accountant import Release
from fedsim.privacy.ledger import PrivacyLedger
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.strategies._adversarial import AdversarialStrategy as Rule
from fedsim.strategies.cdan import Cdan
from fedsim.strategies.dann import Dann
from fedsim.strategies.iwdan import Iwdan
from fedsim.wire import ClientInfo, Instruction, Update, Weights


def length(parts: Weights) -> float:
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in parts.values()))


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_one_example_moves_no_statistic_further_than_its_sensitivity(seed: int) -> None:
    generator = torch_stream(seed, "one")
    sharp = 10 * torch.rand((), generator=generator)
    soft = (sharp * torch.randn(1, 4, generator=generator, dtype=torch.float64)).softmax(dim=1)
    z = sharp * torch.randn(1, 6, generator=generator, dtype=torch.float64)
    label = torch.randint(4, (1,), generator=generator)
    assert float(confusion_sum(soft, label).norm()) <= CONFUSION + 1e-12
    assert float(soft.sum(dim=0).norm()) <= PREDICTION + 1e-12
    assert length(moments_of(unit_rows(z), label, 4).packed()) <= UNIT_MOMENTS + 1e-12
    made = JointFeatures(8, 2.0, seed)(z, soft)
    assert float((20.0 * made).norm()) <= joint_features(20.0) + 1e-9
    cosines = random_features(z, torch.randn(6, 9, generator=generator, dtype=torch.float64))
    assert float(cosines.norm()) <= RANDOM_FEATURES + 1e-12
    short = z / max(1.0, float(z.norm()) / 2.0)
    assert length(class_sums(short, label, 4).to_weights()) <= of_class_sums(2.0) + 1e-12


INFOS = {
    "source": ClientInfo(0, 40, "a", "source"),
    "target": ClientInfo(1, 40, "b", "target"),
}
QUIET = PrivacyParameters(clip=0.5, noise_multiplier=1e-9, rng="simulation")


def held_by(role: str) -> Examples | Unlabelled:
    inputs = torch.randn(40, 4, generator=torch_stream(1, role))
    return Examples(inputs, torch.arange(40) % 3) if role == "source" else Unlabelled(inputs)


def asked(rule: Rule, half: Any, phase: str, role: str, held: Any = None) -> Update:
    with torch_defaults(0, "model"):
        model = MLP((4,), 3, hidden=(6,))
    info = INFOS[role]
    state = replace(rule.begin(weights_of(model), list(INFOS.values())), round=9, phase=phase)
    load_weights(model, state.weights)
    instruction = Instruction(9, phase, info, rule.broadcast(state, info))
    answer: Update = getattr(half, phase)(
        model, held or held_by(role), instruction, torch_stream(3, "c")
    )
    return answer


@pytest.mark.parametrize("role", ["source", "target"])
def test_without_noise_the_sums_are_the_plain_ones(role: str) -> None:
    update = asked(Iwdan(), PrivateAdversarial().under(QUIET), "gls", role)
    (sent,) = update.extras["gls"].values()
    assert float(sent.sum()) == pytest.approx(40, abs=1e-3)
    assert update.examples == 1
    assert update.metrics == {}


def test_the_noise_on_a_sum_is_its_sensitivity_times_the_multiplier() -> None:
    loud = replace(QUIET, noise_multiplier=3.0)
    quiet, noisy = (
        asked(Iwdan(), PrivateAdversarial().under(terms), "gls", "source")
        for terms in (QUIET, loud)
    )
    apart = noisy.extras["gls"]["confusion"] - quiet.extras["gls"]["confusion"]
    assert 1.0 < float(apart.std()) < 6.0
    # What is drawn does not depend on clip: the sum has a sensitivity of its own.
    again = asked(Iwdan(), PrivateAdversarial().under(replace(loud, clip=9.0)), "gls", "source")
    assert torch.equal(again.extras["gls"]["confusion"], noisy.extras["gls"]["confusion"])


@pytest.mark.parametrize("role", ["source", "target"])
@pytest.mark.parametrize("rule", [Dann(dropout=0.0), Cdan(dropout=0.0)], ids=["dann", "cdan"])
def test_no_example_moves_a_step_further_than_the_clip(rule: Rule, role: str) -> None:
    half = PrivateAdversarial(lr=1.0, steps=1, sample_rate=1.0, batch_size=1).under(QUIET)
    for phase in ("train", "adversary"):
        held: Any = held_by(role)
        fewer: Any = replace(
            held, **{k: v[1:] for k, v in vars(held).items() if isinstance(v, torch.Tensor)}
        )
        moved = [asked(rule, half, phase, role, given) for given in (held, fewer)]
        parts = [one.delta or one.extras["adversary"] for one in moved]
        apart = {name: parts[0][name] - parts[1][name] for name in parts[0]}
        assert 0 < length(apart) <= QUIET.clip + 1e-5


def test_one_example_changes_one_row_of_features_by_twice_the_clip_at_most() -> None:
    half = PrivateAdversarial(batch_size=64).under(QUIET)
    rows = asked(Dann(form="features"), half, "embed", "target").extras["rows"]["rows"]
    assert rows.shape[0] == 64  # as many as a batch has, whatever the client holds
    assert float(rows.norm(dim=1).max()) <= QUIET.clip + 1e-5


def test_a_turn_costs_every_release_that_the_strategy_asks_for() -> None:
    half = PrivateAdversarial(steps=7, sample_rate=0.2)
    found = half.serving(Iwdan(adversary_steps=3).phases()).releases(2.0, 4)
    assert found == (Release(2.0, 0.2, 28), Release(2.0, 0.2, 12), Release(2.0, 1.0, 4))
    plain = half.serving(Dann(form="features").phases()).releases(2.0, 4)
    assert plain == (Release(2.0, 0.2, 28), Release(2.0, 1.0, 4))
    with pytest.raises(RunError, match="known with the strategy alone"):
        half.releases(2.0, 4)


def test_what_divides_by_a_sum_over_the_batch_is_refused() -> None:
    with pytest.raises(RunError, match="entropy: true divides by a sum over the batch"):
        asked(Cdan(entropy=True), PrivateAdversarial().under(QUIET), "train", "target")


PRIVACY = {
    "unit": "record",
    "clip": 1.0,
    "noise_multiplier": 1.0,
    "delta": 1e-5,
    "rng": "simulation",
}
LOCAL = {"use": "private_adversarial", "steps": 3, "sample_rate": 0.1}


def test_a_run_charges_every_round_and_is_repeated_by_its_seed(two_domains, play) -> None:
    strategy = {"use": "iwdan", "adversary_steps": 2, "iw_start": 1}
    of = two_domains(strategy=strategy, local=LOCAL, privacy=PRIVACY)
    first, second = play(of), play(of)
    assert first.result.weights_sha256 == second.result.weights_sha256
    assert first.result.dropped == 0
    ledger = PrivacyLedger.read(first.folder.path / "privacy.jsonl")
    assert ledger is not None
    assert [charge.clients for charge in ledger.charges] == [(0, 1, 2, 3)] * 2
    one_turn = ledger.promise["one_turn"]
    assert [entry[2] for entry in one_turn] == [3, 2, 1]  # steps, discriminator, class ratios


@pytest.mark.parametrize(
    ("strategy", "local", "why"),
    [
        ("jan", {}, "neither has their spread"),
        ("iwjan", LOCAL, "neither has their spread"),
        ({"use": "dmpn", "prototypes": "means"}, {}, "neither have their class sums"),
        ("iwdan", {}, r"local: \{use: private_adversarial\} does"),
        ({"use": "dann", "form": "fedmm"}, LOCAL, "adds no noise in primal_dual"),
    ],
)
def test_a_statistic_without_a_known_bound_is_refused(strategy, local, why, two_domains) -> None:
    with pytest.raises(ScenarioError, match=why):
        two_domains(strategy=strategy, local=local, privacy=PRIVACY)


def test_clients_as_a_whole_are_not_hidden_by_methods_that_ask_twice(two_domains) -> None:
    with pytest.raises(ScenarioError, match=r"Dann (adds up more|asks its clients more than once)"):
        two_domains(strategy="dann", privacy={**PRIVACY, "unit": "client"})
