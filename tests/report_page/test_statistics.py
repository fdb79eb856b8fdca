"""The statistics against formulas written down once more, by hand."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from fedsim.analysis.statistics import bootstrap, effect, holm, interval, paired, permutation, ranks

TABLES = range(20)


def table(number: int, rows: int = 4, columns: int = 5) -> np.ndarray:
    return np.random.default_rng(number).normal(0.1, 1.0, size=(rows, columns))


@pytest.mark.parametrize("number", TABLES)
def test_the_t_interval_is_the_textbook_one(number: int) -> None:
    values = table(number)[0]
    mean = sum(values) / 5
    spread = math.sqrt(sum((one - mean) ** 2 for one in values) / 4)
    half = 2.7764451051977987 * spread / math.sqrt(5)  # the 97.5 % point of t with 4 degrees
    found = interval(list(values))
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))


@pytest.mark.parametrize("number", TABLES)
def test_the_t_test_is_the_textbook_one(number: int) -> None:
    first, second = table(number)[:2]
    expected = stats.ttest_rel(first, second).pvalue
    assert paired(list(first - second), test="t").p == pytest.approx(expected)


@pytest.mark.parametrize("number", TABLES)
def test_the_permutation_test_counts_every_assignment_of_signs(number: int) -> None:
    values = table(number)[0]
    seen = abs(sum(values))
    flips = list(product((-1, 1), repeat=5))
    as_far = sum(abs(np.dot(signs, values)) >= seen - 1e-12 for signs in flips)
    assert permutation(list(values)) == as_far / 32


@pytest.mark.parametrize("number", TABLES)
def test_wilcoxon_is_scipys(number: int) -> None:
    values = table(number)[0]
    assert paired(list(values), test="wilcoxon").p == stats.wilcoxon(values).pvalue


@pytest.mark.parametrize("number", TABLES)
def test_holm_is_its_definition(number: int) -> None:
    values = np.random.default_rng(number).uniform(0, 0.3, size=6)
    order = np.argsort(values)
    stepped = [min(1.0, (6 - k) * values[which]) for k, which in enumerate(order)]
    expected = {which: max(stepped[: k + 1]) for k, which in enumerate(order)}
    assert holm(list(values)) == [expected[k] for k in range(6)]


@pytest.mark.parametrize("number", TABLES)
def test_friedmans_test_is_the_textbook_one(number: int) -> None:
    values = table(number)
    placed = np.array([[1 + sum(other > one for other in row) for one in row] for row in values])
    means = placed.mean(axis=0)
    chi2 = 12 * 4 / (5 * 6) * (sum(means**2) - 5 * 6**2 / 4)
    found = ranks(values)
    assert found is not None
    assert found.mean == pytest.approx(means)
    assert found.chi2 == pytest.approx(chi2)
    # 2.728 is Demsar's q for five classifiers at 0.05 (Table 5a).
    assert found.critical == pytest.approx(2.728 * math.sqrt(5 * 6 / (6 * 4)), rel=1e-3)


@pytest.mark.parametrize("number", TABLES)
def test_the_effect_is_hedgess(number: int) -> None:
    values = table(number)[0]
    expected = values.mean() / values.std(ddof=1) * (1 - 3 / (4 * 4 - 1))
    assert effect(list(values)) == pytest.approx(expected)


@pytest.mark.parametrize("number", TABLES)
def test_the_small_bootstrap_looks_at_every_resample(number: int) -> None:
    values = table(number)[0][:3]
    means = [np.mean(chosen) for chosen in product(values, repeat=3)]
    assert bootstrap(list(values)) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_intervals_hold_the_true_mean_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0).normal(0.9, 0.02, size=(4000, 5))
    found = [interval(list(row)) for row in generator]
    covered = np.mean([(one.low or 0) <= 0.9 <= (one.high or 0) for one in found])
    assert abs(covered - 0.95) < 0.02


def test_the_large_permutation_test_is_near_the_exact_one() -> None:
    values = list(np.random.default_rng(1).normal(0.3, 1, size=16))
    exact = stats.permutation_test(
        (np.array(values),), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert abs(permutation(values) - exact) < 0.02


def test_one_value_has_no_interval_and_two_have_no_effect() -> None:
    assert interval([0.5]).low is None
    assert not interval([0.5]).excludes_zero()
    assert paired([0.5]).p is None
    assert effect([0.1, 0.2]) is None


def test_differences_without_spread_break_nothing() -> None:
    found = paired([0.1, 0.1, 0.1], test="t")
    assert (found.p, found.effect) == (0.25, None)
    assert found.difference.half == pytest.approx(0)
    assert paired([0.0, 0.0, 0.0], test="wilcoxon").p == 1.0


def test_levels_that_rank_alike_everywhere_are_not_told_apart() -> None:
    found = ranks(np.ones((3, 3)))
    assert found is not None
    assert (found.mean, found.p) == ((2.0, 2.0, 2.0), 1.0)


def test_two_settings_make_no_friedman_test() -> None:
    assert ranks(table(0, rows=2)) is None
