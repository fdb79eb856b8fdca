"""The audit never refutes a claim that is kept, and refutes one whose noise is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from fedsim import cohort
from fedsim.cli.app import main
from fedsim.privacy import mechanism
from fedsim.privacy.accountant import gaussian_epsilon
from fedsim.privacy.audit import _binomial_tail, audit, lower_bound
from fedsim.privacy.claim import Claim, Crowd
from fedsim.scenario.privacy import Privacy

LIKE = {"weight": torch.zeros(40, 30)}


def claim(noise: float, seed: int = 3, cohort_size: int = 30) -> Claim:
    said = Privacy(unit="client", clip=1.0, noise_multiplier=noise, delta=1e-5, rng="simulation")
    return Claim(said, Crowd(30, cohort_size, 5, cohort.Poisson(), seed))


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
    from fedsim.privacy import guarded

    # The canaries send three times what is allowed.
    monkeypatch.setattr(guarded, "clipped", lambda delta, bound, step: dict(delta))
    found = audit(claim(4.0), LIKE, rounds=1, canaries=1000)
    assert found.lower > 0.3
    assert found.lower > audit_kept()


def audit_kept() -> float:
    return gaussian_epsilon(1 / 40, 1e-5)


def test_on_the_plain_gaussian_bounds_are_below_the_truth_and_grow_with_it() -> None:
    draws, found = np.random.default_rng(1), []
    for noise in (5.0, 1.0, 0.3):
        is_in = draws.random(2000) < 0.5
        scores = is_in + noise * draws.standard_normal(2000)
        found.append(lower_bound(scores, is_in, 1e-5))
        assert found[-1] <= gaussian_epsilon(1 / noise, 1e-5)
    assert found == sorted(found)
    assert found[1] > 1.2
    assert found[2] > 3.5


def test_guesses_by_luck_prove_nothing() -> None:
    draws = np.random.default_rng(2)
    false_alarms = [
        lower_bound(draws.standard_normal(500), draws.random(500) < 0.5, 1e-5) > 0
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
