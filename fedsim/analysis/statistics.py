"""What paired runs can tell: intervals, tests, effect sizes and ranks, for few seeds.

References:
    Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006: Friedman's
    test, average ranks, Nemenyi's critical difference.
    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    Hedges, "Distribution Theory for Glass's Estimator of Effect Size and Related Estimators",
    1981: the correction of effect sizes for small samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from fedsim.seeds import numpy_stream

__all__ = [
    "Interval",
    "Paired",
    "Ranks",
    "bootstrap",
    "effect",
    "holm",
    "interval",
    "paired",
    "permutation",
    "ranks",
]

Values = npt.NDArray[np.float64]

_ALL = 15
"""Pairs up to which every assignment of signs is looked at."""
_DRAWS = 20_000


@dataclass(frozen=True)
class Interval:
    """A mean and where the true one is thought to be."""

    mean: float
    low: float | None
    """None where there are fewer than two values: nothing is known of their spread."""
    high: float | None
    n: int

    @property
    def half(self) -> float | None:
        """Half of the interval's width."""
        return None if self.low is None else self.mean - self.low

    def excludes_zero(self) -> bool:
        """Return whether zero is outside."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Paired:
    """One level against another over the same seeds."""

    difference: Interval
    """Student's."""
    bootstrap: tuple[float, float] | None
    test: str
    p: float | None
    effect: float | None
    """Hedges's g of the differences: their mean over their spread, for small samples."""


@dataclass(frozen=True)
class Ranks:
    """Whether the levels rank alike in all settings."""

    mean: tuple[float, ...]
    """In the order of the levels; 1 is best."""
    settings: int
    chi2: float
    p: float
    critical: float
    """Mean ranks that differ by less are not told apart (Nemenyi)."""


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Return the mean with Student's interval, which takes the values for normal."""
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if len(sample) < 2:
        return Interval(mean, None, None, len(sample))
    from scipy.stats import t

    half = float(
        t.ppf((1 + level) / 2, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample))
    )
    return Interval(mean, mean - half, mean + half, len(sample))


def bootstrap(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Return the percentile interval of resampled means; None for fewer than two values.

    Up to five values every resample is looked at; beyond, 20,000 are drawn from a fixed stream.
    It assumes no law, and is too narrow for few values.
    """
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    if n < 2:
        return None
    if n <= 5:
        chosen = np.array(list(product(range(n), repeat=n)))
    else:
        chosen = numpy_stream(0, "bootstrap", n).integers(n, size=(_DRAWS, n))
    low, high = np.quantile(sample[chosen].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def permutation(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the sign-flip test of paired differences.

    Were the two sides alike, each difference could as well have the other sign.  Up to 15 pairs
    the value is exact, and no smaller than ``2 / 2^n``; beyond, 20,000 assignments are drawn
    from a fixed stream, the one that was seen among them.
    """
    sample = np.asarray(differences, dtype=np.float64)
    n = len(sample)
    if n <= _ALL:
        bits = np.arange(2**n)[:, None] >> np.arange(n)
        signs = 1.0 - 2.0 * (bits & 1)  # (2^n, n)
    else:
        signs = numpy_stream(0, "permutation", n).choice([-1.0, 1.0], size=(_DRAWS, n))
        signs[0] = 1.0
    sums = np.abs(signs @ sample)
    # Sums that are equal on paper may differ in the last bit.
    return float(np.mean(sums >= abs(sample.sum()) - 1e-12 * np.abs(sample).sum()))


def effect(differences: Sequence[float]) -> float | None:
    """Return Hedges's g of paired differences; None where they have no spread to compare with."""
    sample = np.asarray(differences, dtype=np.float64)
    if len(sample) < 3 or sample.std(ddof=1) <= 1e-12 * max(1.0, float(np.abs(sample).max())):
        return None
    return float(sample.mean() / sample.std(ddof=1) * (1 - 3 / (4 * (len(sample) - 1) - 1)))


def paired(differences: Sequence[float], level: float = 0.95, test: str = "auto") -> Paired:
    """Return what paired differences tell.

    Args:
        differences: one for each pair.
        level: of the intervals.
        test: ``t``, ``permutation``, ``wilcoxon``; ``auto`` is the permutation test.
    """
    test = "permutation" if test == "auto" else test
    p = None
    if len(differences) >= 2:
        p = permutation(differences) if test == "permutation" else _of_scipy(differences, test)
    return Paired(
        interval(differences, level),
        bootstrap(differences, level),
        test,
        p,
        effect(differences),
    )


def _of_scipy(differences: Sequence[float], test: str) -> float:
    from scipy import stats

    sample = np.asarray(differences, dtype=np.float64)
    if np.ptp(sample) == 0:  # no spread: scipy divides by it
        return 1.0 if sample[0] == 0 else float(2.0 ** (1 - len(sample)))
    if test == "t":
        return float(stats.ttest_1samp(sample, 0.0).pvalue)
    return float(stats.wilcoxon(sample, zero_method="pratt").pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """Return the p-values after Holm: each is right though there are many.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(values)
    worst = 0.0
    for place, which in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        worst = max(worst, min(1.0, (len(values) - place) * values[which]))
        adjusted[which] = worst
    return adjusted


def ranks(table: npt.ArrayLike, level: float = 0.95) -> Ranks | None:
    """Return the levels' mean ranks with Friedman's test and Nemenyi's critical difference.

    Args:
        table: shape ``(settings, levels)``, larger is better.
        level: one minus the error that is allowed.

    Returns:
        None for fewer than three settings or three levels.
    """
    scores = np.asarray(table, dtype=np.float64)
    settings, levels = scores.shape
    if settings < 3 or levels < 3:
        return None
    from scipy import stats

    placed = stats.rankdata(-scores, axis=1)
    if (placed == placed[:, :1]).all():
        chi2, p = 0.0, 1.0  # all alike everywhere
    else:
        chi2, p = (float(value) for value in stats.friedmanchisquare(*scores.T))
    q = float(stats.studentized_range.ppf(level, levels, np.inf)) / math.sqrt(2)
    critical = q * math.sqrt(levels * (levels + 1) / (6 * settings))
    return Ranks(tuple(map(float, placed.mean(axis=0))), settings, chi2, p, critical)
