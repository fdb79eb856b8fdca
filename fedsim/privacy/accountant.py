"""What noisy releases add up to: an epsilon for a delta, never a sum of epsilons.

Two accountants.  ``pld`` is the main figure: the distribution of the privacy loss, composed by
Fourier transform and rounded upwards (dp-accounting); where nothing is sampled it is a Gaussian
and its epsilon has a closed form, which is used.  ``rdp`` is the second opinion: a bound by
Rényi divergences, above ``pld`` by 5 to 20 percent as a rule.

Both hold for the neighbours that a release was described for: see :class:`Release`.

References:
    Balle, Wang, "Improving the Gaussian Mechanism for Differential Privacy: Analytical
    Calibration and Optimal Denoising", ICML 2018, arXiv:1805.06530, Theorem 8.
    Koskela, Jälkö, Honkela, "Computing Tight Differential Privacy Guarantees Using FFT",
    AISTATS 2020, arXiv:1906.03049; Doroshenko, Ghazi, Kamath, Kumar, Manurangsi, "Connect the
    Dots", PETS 2022, arXiv:2207.04380.
    Wang, Balle, Kasiviswanathan, "Subsampled Rényi Differential Privacy and Analytical Moments
    Accountant", AISTATS 2019, arXiv:1808.00087 (``fixed``).
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from fedsim.errors import MissingPackage

__all__ = [
    "Accountant",
    "Release",
    "Sampling",
    "epsilon",
    "gaussian_delta",
    "gaussian_epsilon",
]

Accountant = Literal["pld", "rdp"]
Sampling = Literal["poisson", "fixed"]

INTERVAL = 1e-4
"""The grid of the privacy losses: twice as fine moves no figure here by more than 1e-4."""


@dataclass(frozen=True)
class Release:
    """A Gaussian answer, ``times`` times, each time on a fresh sample of the units."""

    noise_multiplier: float
    """The noise's standard deviation over the sensitivity: how far one neighbour moves the sum."""
    sample_rate: float = 1.0
    """A unit's chance to be in the sample; 1 claims no amplification."""
    times: int = 1
    sampling: Sampling = "poisson"
    """``poisson``: each unit on its own coin flip, neighbours by adding or removing one;
    ``fixed``: always as many, without replacement, neighbours by replacing one."""


def epsilon(releases: Sequence[Release], delta: float, accountant: Accountant = "pld") -> float:
    """Return the epsilon of all ``releases`` together at ``delta``.

    ``pld`` knows no amplification by samples of fixed size, and counts them as if everybody
    took part; ``rdp`` does.

    Returns:
        The bound; 0 for no release, and infinity if one goes without noise.

    Raises:
        MissingPackage: if dp-accounting is needed and absent.
    """
    alike: Counter[tuple[float, float, Sampling]] = Counter()
    for release in releases:
        alike[release.noise_multiplier, release.sample_rate, release.sampling] += release.times
    facts = tuple(sorted((*kind, times) for kind, times in alike.items() if times))
    if any(noise <= 0 for noise, *_ in facts):
        return math.inf
    return _epsilon(facts, delta, accountant) if facts else 0.0


Facts = tuple[tuple[float, float, Sampling, int], ...]
"""Noise multiplier, sample rate, sampling and times of releases that differ."""


@lru_cache(maxsize=4096)
def _epsilon(facts: Facts, delta: float, accountant: Accountant) -> float:
    if accountant == "rdp":
        return _rdp(facts, delta)
    plain = math.sqrt(sum(n / z**2 for z, q, sampling, n in facts if q >= 1 or sampling == "fixed"))
    sampled = [(z, q, n) for z, q, sampling, n in facts if q < 1 and sampling == "poisson"]
    if not sampled:
        return gaussian_epsilon(plain, delta)
    composed = None
    for z, q, times in sampled:
        part = _loss(z, q).self_compose(times)
        composed = part if composed is None else composed.compose(part)
    if plain:
        composed = composed.compose(_loss(1 / plain, 1.0))  # type: ignore[union-attr]
    return float(composed.get_epsilon_for_delta(delta))  # type: ignore[union-attr]


@lru_cache(maxsize=64)
def _loss(noise_multiplier: float, sample_rate: float) -> Any:
    """Return the privacy loss distribution of one sampled Gaussian, neighbours by add or remove."""
    try:
        from dp_accounting.pld import privacy_loss_distribution as pld
    except ImportError as error:
        raise _missing() from error
    return pld.from_gaussian_mechanism(
        noise_multiplier, value_discretization_interval=INTERVAL, sampling_prob=sample_rate
    )


def _rdp(facts: Facts, delta: float) -> float:
    try:
        import dp_accounting as dp
        from dp_accounting.rdp import RdpAccountant
    except ImportError as error:
        raise _missing() from error
    is_fixed = any(sampling == "fixed" for _, _, sampling, _ in facts)
    relation = dp.NeighboringRelation
    book = RdpAccountant(
        neighboring_relation=relation.REPLACE_ONE if is_fixed else relation.ADD_OR_REMOVE_ONE
    )
    silent = logging.getLogger("absl")  # which warns of every order that it leaves out
    for z, q, sampling, times in facts:
        event: Any = dp.GaussianDpEvent(z)
        if q < 1 and sampling == "poisson":
            event = dp.PoissonSampledDpEvent(q, event)
        elif q < 1:
            event = dp.SampledWithoutReplacementDpEvent(2**40, round(q * 2**40), event)
        before = silent.level
        silent.setLevel(logging.ERROR)
        try:
            book.compose(event, times)
        finally:
            silent.setLevel(before)
    return float(book.get_epsilon(delta))


def _missing() -> MissingPackage:
    return MissingPackage(
        "accounting for sampled releases needs dp-accounting: pip install 'fedsim[dp]'"
    )


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Return the delta of a Gaussian whose neighbours lie ``mu`` standard deviations apart.

    ``T`` releases of noise multiplier ``z`` on everybody have ``mu = sqrt(T) / z``.
    """
    here = _log_phi(mu / 2 - epsilon / mu)
    there = epsilon + _log_phi(-mu / 2 - epsilon / mu)
    return -math.exp(here) * math.expm1(there - here)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the epsilon of a Gaussian whose neighbours lie ``mu`` standard deviations apart."""
    low, high = 0.0, 1.0
    if mu == 0 or gaussian_delta(mu, 0) <= delta:
        return 0.0
    while gaussian_delta(mu, high) > delta:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if gaussian_delta(mu, middle) > delta else (low, middle)
    return high


def _log_phi(x: float) -> float:
    """Return the logarithm of the normal distribution function."""
    if x > -30:
        return math.log(0.5 * math.erfc(-x / math.sqrt(2)))
    # The continued fraction's first terms; the next is below 1e-12 here.
    series = 1 - 1 / x**2 + 3 / x**4 - 15 / x**6 + 105 / x**8
    return -x * x / 2 - math.log(-x) - math.log(2 * math.pi) / 2 + math.log(series)
