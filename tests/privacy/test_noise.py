"""Noise is Gaussian, on its grid, its own each time, and out of the experiment's reach."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedsim.privacy.noise import (
    SecureNoise,
    SimulatedNoise,
    gaussian,
    grid,
    noisy,
    perturbed,
    snap,
    source_of,
)

MANY = 1_000_000


def source(*where: int) -> SimulatedNoise:
    return SimulatedNoise.at(7, "noise", *where)


@pytest.mark.parametrize("which", [SecureNoise(), source(0)], ids=["secure", "simulation"])
def test_the_variance_is_right_within_six_in_a_thousand(
    which: SecureNoise | SimulatedNoise,
) -> None:
    drawn = gaussian(torch.zeros(MANY), 3.0, which)
    # The standard error of a variance is sqrt(2 / n): 0.6 percent is 4.2 of them, and sound noise
    # from the operating system fails once in 45,000 times.
    assert abs(float(drawn.var()) / 9 - 1) < 0.006
    assert abs(float(drawn.mean())) < 3 * 5 / MANY**0.5
    assert stats.kstest(drawn.numpy() / 3, "norm").pvalue > 1e-6


def test_no_output_of_two_million_is_off_the_grid_whatever_the_input() -> None:
    step = grid(1.0)
    for value in (0.0, 1.0):
        out = noisy(torch.full((MANY,), value), 1.0, source(int(value)))
        assert int(torch.count_nonzero(out / step != torch.round(out / step))) == 0


def test_inputs_zero_and_one_give_the_same_set_of_low_bits() -> None:
    # What proves an input in floating point is a low bit that only one of them can give.
    cells = [
        (noisy(torch.full((MANY,), x), 1.0, source(3)) / grid(1.0)).long() % 64 for x in (0.0, 1.0)
    ]
    assert torch.equal(torch.unique(cells[0]), torch.unique(cells[1]))


@given(st.floats(1e-6, 1e6), st.floats(-1e6, 1e6))
def test_snapping_never_makes_a_number_larger(std: float, value: float) -> None:
    snapped = float(snap(torch.tensor(value, dtype=torch.float64), grid(std)))
    assert abs(snapped) <= abs(value)
    assert abs(snapped - value) < grid(std)


def test_noise_of_clients_rounds_and_layers_is_uncorrelated() -> None:
    drawn = [gaussian(torch.zeros(10_000), 1.0, source(k)).numpy() for k in range(60)]
    layers = source(99)
    drawn += [gaussian(torch.zeros(10_000), 1.0, layers).numpy() for _ in range(40)]
    found = np.corrcoef(np.stack(drawn)) - np.eye(100)
    assert float(np.abs(found).max()) <= 0.064


def test_no_word_comes_twice_in_a_million() -> None:
    words = np.concatenate([source(k).words(50_000) for k in range(20)])
    assert len(np.unique(words)) == len(words)
    words = SecureNoise().words(MANY)
    assert len(np.unique(words)) == len(words)


def test_no_seed_of_a_user_reaches_secure_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    def seeded() -> torch.Tensor:
        torch.default_generator.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002  # what a careless client does
        generator = torch.Generator().manual_seed(1)
        return gaussian(torch.zeros(100), 1.0, source_of("secure", generator))

    assert len({seeded().numpy().tobytes() for _ in range(100)}) == 100
    asked: list[int] = []

    def zeros(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    monkeypatch.setattr(os, "urandom", zeros)
    seeded()
    assert asked == [32]
    # The first words of ChaCha20 for a key of zeros (RFC 8439, appendix A.1).
    published = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    assert SecureNoise().words(4).tobytes().hex() == published
    assert len(SecureNoise().words(0)) == 0


def test_global_seeds_do_not_reach_simulated_noise_either() -> None:
    def drawn(seed: int) -> bytes:
        np.random.seed(seed)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        return gaussian(torch.zeros(100), 1.0, source(5)).numpy().tobytes()

    assert drawn(1) == drawn(2)


def test_a_client_draws_its_simulated_noise_from_its_own_stream() -> None:
    def drawn(seed: int) -> bytes:
        generator = torch.Generator().manual_seed(seed)
        return gaussian(torch.zeros(100), 1.0, source_of("simulation", generator)).numpy().tobytes()

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize("std", [-1.0, float("nan"), float("inf")])
def test_noise_without_a_size_is_refused(std: float) -> None:
    with pytest.raises(ValueError, match="standard deviation"):
        gaussian(torch.zeros(1), std, source(0))


def test_noise_is_that_of_the_words_one_by_one() -> None:
    words = source(1).words(50_001)
    tail = ((words >> np.uint64(1)).astype(np.float64) + 0.5) * 2.0**-64
    sign = 1 - 2 * torch.from_numpy((words & np.uint64(1)).astype(np.float64))
    slow = torch.special.ndtri(torch.from_numpy(tail)) * sign
    found = gaussian(torch.zeros(50_001), 1.0, source(1))
    assert torch.equal(found, (slow / grid(1.0)).round() * grid(1.0))


@pytest.mark.parametrize("which", [SecureNoise(), source(4)], ids=["secure", "simulation"])
def test_what_is_rounded_after_the_noise_is_as_gaussian(
    which: SecureNoise | SimulatedNoise,
) -> None:
    value = torch.linspace(-1, 1, MANY + 1, dtype=torch.float64)  # on no grid, and an odd number
    drawn = (perturbed(value, 3.0, which) - value).numpy() / 3
    assert abs(float(drawn.var()) - 1) < 0.006
    assert abs(float(drawn.mean())) < 5 / MANY**0.5
    assert stats.kstest(drawn, "norm").pvalue > 1e-6
    assert 4.4 < float(np.abs(drawn).max()) < 6.5
    # Two come from each pair of words: they, their squares and their signs have to be independent.
    block = drawn[:16_384].reshape(2, -1)
    for one, other in [block, block**2, np.abs(block), np.sign(block)]:
        assert abs(float(np.corrcoef(one, other)[0, 1])) < 5 / 8192**0.5


@given(st.floats(1e-6, 1e6), st.floats(-1, 1), st.integers(0, 2**32))
def test_what_is_rounded_after_the_noise_is_the_sum_rounded(
    std: float, value: float, seed: int
) -> None:
    held = torch.full((7,), value * std, dtype=torch.float64)
    out = perturbed(held, std, source(seed))
    alone = perturbed(torch.zeros_like(held), std, source(seed))
    assert torch.equal(out / grid(std), (out / grid(std)).round())
    assert float((out - held - alone).abs().max()) <= grid(std) * (1 + 1e-6)
    on_grid = snap(held, grid(std))
    assert torch.equal(perturbed(on_grid, std, source(seed)), on_grid + alone)


def test_low_bits_after_rounding_tell_nothing_of_the_input() -> None:
    step = grid(1.0)
    cells = [
        (perturbed(torch.full((MANY,), x, dtype=torch.float64), 1.0, source(3)) / step).long() % 64
        for x in (0.0, step / 3)
    ]
    for found in cells:
        counts = torch.bincount(found, minlength=64).double()
        assert float(((counts - MANY / 64).square() / (MANY / 64)).sum()) < 150  # of 63


def test_without_a_size_nothing_is_added_or_all_refused() -> None:
    value = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(perturbed(value, 0.0, source(0)), value)
    with pytest.raises(ValueError, match="standard deviation"):
        perturbed(value, -1.0, source(0))
