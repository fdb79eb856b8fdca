"""The audit never refutes a claim that is kept, and refutes one whose noise is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from fedsim import cohort
from fedsim.cli.app import main
from fedsim.clients import dp_sgd
from fedsim.clients.dp_sgd import DpSgd
from fedsim.clients.mean_embeddings import MeanEmbeddings
from fedsim.clients.private_matching import PrivateMatching
from fedsim.condense import embedding_means as _mean_embeddings
from fedsim.condense import private_gradients as _clipped_matching
from fedsim.privacy import mechanism
from fedsim.privacy.accountant import gaussian_epsilon
from fedsim.privacy.audit import _binomial_tail, audit, lower_bound
from fedsim.privacy.audit_records import audit_records
from fedsim.privacy.noise import NoiseSource, SimulatedNoise, gaussian
from fedsim.privacy.parameters import PrivateRule
from fedsim.privacy.population import Population
from fedsim.privacy.privacy_spec import PrivacySpec
from fedsim.schema.privacy import Privacy

LIKE = {"weight": torch.zeros(40, 30)}


def claim(noise: float, seed: int = 3, cohort_size: int = 30) -> PrivacySpec:
    said = Privacy(unit="client", clip=1.0, noise_multiplier=noise, delta=1e-5, rng="simulation")
    return PrivacySpec(said, Population(30, cohort_size, 5, cohort.Poisson(), seed))


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("size", [15, 30])
def test_a_claim_that_is_kept_is_never_refuted(noise: float, size: int) -> None:
    for seed in range(3):
        found = audit(claim(noise, seed, size), LIKE, rounds=2, canaries=600)
        assert found.lower <= found.claimed
        assert not found.is_broken


def test_noise_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = vars(mechanism)["gaussian"]
    monkeypatch.setattr(mechanism, "gaussian", lambda like, std, source: real(like, 0.0, source))
    found = audit(claim(2.0), LIKE, rounds=2, canaries=600)
    assert found.is_broken
    assert found.lower == found.control > found.claimed


def test_clipping_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from fedsim.privacy import private_strategy as guarded

    # The canaries send three times what is allowed.
    monkeypatch.setattr(guarded, "clipped", lambda delta, bound, step: dict(delta))
    found = audit(claim(4.0), LIKE, rounds=1, canaries=1000)
    assert found.lower > 0.3
    assert found.lower > audit_kept()


def audit_kept() -> float:
    return gaussian_epsilon(1 / 40, 1e-5)


def test_on_the_plain_gaussian_bounds_are_below_the_truth_and_grow_with_it() -> None:
    generator, found = np.random.default_rng(1), []
    for noise in (5.0, 1.0, 0.3):
        is_in = generator.random(2000) < 0.5
        scores = is_in + noise * generator.standard_normal(2000)
        found.append(lower_bound(scores, is_in, 1e-5))
        assert found[-1] <= gaussian_epsilon(1 / noise, 1e-5)
    assert found == sorted(found)
    assert found[1] > 1.2
    assert found[2] > 3.5


def told_apart(noise: float, seed: int, each: int = 10_000, chance: float = 1e-3) -> float:
    """Return a lower bound from two worlds, with and without one record, many times released.

    One threshold, both error rates' Clopper-Pearson bounds, and the trade-off curve of a Gaussian
    (Nasr et al., USENIX Security 2023, section 4): right only where the noise is Gaussian.
    """
    source = SimulatedNoise.at(seed, "two worlds")
    worlds = gaussian(torch.zeros(2, each), noise, source).numpy()
    hits, alarms = (
        (world + record > 0.5).sum() for world, record in zip(worlds, (1, 0), strict=True)
    )
    least = stats.beta.ppf(chance / 2, hits, each - hits + 1)
    most = stats.beta.ppf(1 - chance / 2, alarms + 1, each - alarms)
    return gaussian_epsilon(stats.norm.ppf(least) - stats.norm.ppf(most), 1e-5)


@pytest.mark.parametrize(("noise", "at_least"), [(1.0, 2.8), (2.0, 1.3)])
def test_two_worlds_of_the_noise_come_close_to_the_truth_and_not_above(noise, at_least) -> None:
    found = [told_apart(noise, seed) for seed in range(10)]
    assert at_least < min(found)
    assert max(found) <= gaussian_epsilon(1 / noise, 1e-5)


def test_two_worlds_tell_noise_that_is_a_tenth_too_small() -> None:
    assert min(told_apart(0.9, seed, each=1_000_000) for seed in range(3)) > (
        gaussian_epsilon(1.0, 1e-5)
    )


def test_guesses_by_luck_prove_nothing() -> None:
    generator = np.random.default_rng(2)
    false_alarms = [
        lower_bound(generator.standard_normal(500), generator.random(500) < 0.5, 1e-5) > 0
        for _ in range(100)
    ]
    assert sum(false_alarms) <= 12  # 95 percent confidence: 5 of 100 on average, at most


@pytest.mark.parametrize("chance", [0.5, 0.9, 1 - 1e-9])
def test_the_tails_are_those_of_scipy(chance: float) -> None:
    ours, v = _binomial_tail(60, chance), np.arange(61)
    assert np.allclose(ours, stats.binom.sf(v - 1, 60, chance), rtol=1e-8)


def test_the_command_says_bound_and_claim(scenario, tmp_path, capsys) -> None:
    privacy = {"unit": "client", "clip": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}
    scenario(privacy=privacy, rounds=1)
    words = ["privacy", "audit", str(tmp_path / "small.yaml"), "--canaries", "300"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "claimed  epsilon 4.377 at delta 1e-05" in said
    assert "by 300 canaries" in said
    assert replace(claim(1.0)).epsilon(1) == pytest.approx(4.3772, abs=1e-4)


HALVES: dict[str, PrivateRule] = {
    "dp_sgd": DpSgd(steps=2, sample_rate=0.5, momentum=0.5),
    "private_matching": PrivateMatching(steps=3, sample_rate=0.5, images_per_class=2),
    "mean_embeddings": MeanEmbeddings(models=2, steps=30, images_per_class=2),
}


def records(name: str, noise: float) -> PrivacySpec:
    said = Privacy(unit="record", clip=1.0, noise_multiplier=noise, delta=1e-6, rng="simulation")
    return PrivacySpec(said, Population(1, 1, 5, cohort.Uniform(), 3), HALVES[name])


@pytest.mark.parametrize("noise", [0.5, 2.0])
@pytest.mark.parametrize("name", HALVES)
def test_what_a_half_claims_for_its_records_is_never_refuted(name: str, noise: float) -> None:
    found = audit_records(records(name, noise), turns=1, canaries=300)
    assert found.lower <= found.claimed
    assert found.control > 1.5


@pytest.mark.parametrize("name", HALVES)
def test_a_half_that_leaves_out_its_noise_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    noises = {dp_sgd: "perturbed", _clipped_matching: "gaussian", _mean_embeddings: "gaussian"}
    for module, noise in noises.items():
        real = vars(module)[noise]

        def none(like: torch.Tensor, std: float, source: NoiseSource, real: Any = real) -> Any:
            return real(like, 0.0, source)

        monkeypatch.setattr(module, noise, none)
    found = audit_records(records(name, 8.0), turns=1, canaries=300)
    assert found.is_broken
    assert found.lower == pytest.approx(found.control)


def test_the_command_audits_records_and_says_what_it_cannot(scenario, tmp_path, capsys) -> None:
    privacy = {"unit": "record", "clip": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}
    local = {"use": "dp_sgd", "steps": 1, "sample_rate": 1.0}
    scenario(privacy=privacy, local=local, rounds=1)
    words = ["privacy", "audit", str(tmp_path / "small.yaml"), "--canaries", "300"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "claimed  epsilon 4.377 at delta 1e-05" in said
    assert "add or remove one training example of one client" in said
    scenario(privacy={**privacy, "unit": "client", "placement": "local"}, rounds=1)
    assert main(words) == 2
    assert "privacy.placement: local cannot be audited" in capsys.readouterr().err
