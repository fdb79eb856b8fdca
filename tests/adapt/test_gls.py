"""Class ratios: exact on exact sums, optimal on noisy ones, and as good as the measured table."""

from __future__ import annotations

from functools import cache
from typing import Any

import clarabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from fedsim.adapt.gls import confusion_sum, ratios, shared_law, shared_ratios, shrunk

Array = np.ndarray[Any, np.dtype[np.float64]]


def world(seed: int, classes: int = 5, noise: float = 0.0):
    """Return a confusion, a prediction law and the true ratios; with noise they do not fit."""
    generator = np.random.default_rng(seed)
    given_class = generator.random((classes, classes)) + classes * np.eye(classes)
    given_class /= given_class.sum(axis=0)
    source, target = (
        generator.dirichlet(np.full(classes, 3.0)),
        generator.dirichlet(np.ones(classes)),
    )
    confusion = given_class * source
    prediction = given_class @ target + noise * generator.random(classes)
    return confusion, prediction / prediction.sum(), target / source


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_exact_sums_give_the_true_ratios(seed: int) -> None:
    confusion, prediction, true = world(seed)
    assert np.allclose(ratios(confusion, prediction, max_ratio=1e9), true, atol=1e-8)


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_noisy_sums_give_the_optimum(seed: int) -> None:
    """The conditions of Karush, Kuhn and Tucker are necessary and sufficient here."""
    confusion, prediction, _ = world(seed, noise=1.0)
    law = confusion.sum(axis=0)
    found = ratios(confusion, prediction, max_ratio=1e9)
    assert (found >= 0).all()
    assert law @ found == pytest.approx(1, abs=1e-12)
    slope = confusion.T @ (confusion @ found - prediction) / law
    price = np.average(slope, weights=found * law)
    assert np.allclose(slope[found > 1e-9], price, atol=1e-6)
    assert (slope >= price - 1e-6).all()


@pytest.mark.parametrize("seed", range(10))
def test_the_optimum_is_that_of_an_interior_point_method(seed: int) -> None:
    confusion, prediction, _ = world(seed, noise=1.0)
    law, k = confusion.sum(axis=0), len(prediction)
    quadratic = sparse.csc_matrix(np.triu(confusion.T @ confusion))
    rows = sparse.csc_matrix(np.vstack([law, -np.eye(k)]))
    cones = [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(k)]
    told = clarabel.DefaultSettings()
    told.verbose, told.tol_gap_abs, told.tol_gap_rel = False, 1e-12, 1e-12
    right = np.concatenate([[1.0], np.zeros(k)])
    slope = -confusion.T @ prediction
    solver = clarabel.DefaultSolver(quadratic, slope, rows, right, cones, told)
    expected = np.array(solver.solve().x)
    assert np.allclose(ratios(confusion, prediction, max_ratio=1e9), expected, atol=1e-6)


def test_renaming_the_classes_renames_the_ratios() -> None:
    confusion, prediction, _ = world(3, noise=0.5)
    order = np.array([3, 0, 4, 1, 2])
    renamed = ratios(confusion[np.ix_(order, order)], prediction[order])
    assert np.allclose(renamed, ratios(confusion, prediction)[order], atol=1e-9)


def test_the_form_without_transpose_differs_where_mistakes_are_lopsided() -> None:
    confusion, prediction, true = world(4)
    found = ratios(confusion, prediction, max_ratio=1e9, transposed=False)
    assert np.abs(found - true).max() > 0.05
    symmetric = (confusion + confusion.T) / 2
    plain, official = (ratios(symmetric, prediction, transposed=flag) for flag in (True, False))
    assert np.allclose(plain, official, atol=1e-8)


def test_a_class_that_the_source_lacks_has_ratio_zero() -> None:
    confusion, prediction, _ = world(5)
    confusion[:, 2] = 0
    found = ratios(confusion, prediction)
    assert found[2] == 0
    assert np.isfinite(found).all()
    assert confusion.sum(axis=0) / confusion.sum() @ found == pytest.approx(1)


def test_a_classifier_that_knows_nothing_leaves_the_ratios_at_one() -> None:
    law = np.array([0.5, 0.3, 0.2])
    found = ratios(np.outer([0.2, 0.3, 0.5], law), np.array([0.2, 0.3, 0.5]))
    assert np.allclose(found, 1, atol=1e-3)


def test_no_ratio_is_far_above_the_most_that_is_allowed() -> None:
    confusion = np.diag([0.98, 0.01, 0.01])
    found = ratios(confusion, np.array([0.0, 1.0, 0.0]), max_ratio=20.0)
    assert found.argmax() == 1
    assert found[1] == pytest.approx(100)  # 20, scaled to p w = 1: nothing else is there
    assert ratios(confusion, np.array([0.5, 0.5, 0.0]), max_ratio=20.0)[1] < 30


def test_shrinking_stops_halfway_and_keeps_the_mean_at_one() -> None:
    confusion, prediction, true = world(6)
    law = confusion.sum(axis=0)
    assert np.allclose(shrunk(true, 0.5), (1 + true) / 2)
    assert law @ shrunk(ratios(confusion, prediction), 0.3) == pytest.approx(1)


def test_sources_share_one_law_even_if_each_lacks_a_class() -> None:
    generator = np.random.default_rng(0)
    given_class = generator.random((4, 4)) + 4 * np.eye(4)
    given_class /= given_class.sum(axis=0)
    target = np.array([0.4, 0.3, 0.2, 0.1])
    laws = np.array([[0.5, 0.5, 0, 0], [0, 0.2, 0.4, 0.4]])
    sources = [given_class * law * 100 for law in laws]
    found = shared_law(sources, given_class @ target * 50)
    assert np.allclose(found, target, atol=1e-8)
    weights = shared_ratios(sources[1], found)
    assert weights[0] == 0
    assert laws[1] @ weights == pytest.approx(1)
    assert np.allclose(weights[1:] / weights[1], target[1:] / laws[1, 1:] / (0.3 / 0.2))


def test_clients_sums_add_up_to_the_pool_s() -> None:
    generator = torch.Generator().manual_seed(0)
    soft = torch.rand(60, 4, generator=generator).softmax(dim=1)
    labels = torch.arange(60) % 4
    clients = [slice(0, 17), slice(17, 20), slice(20, 60)]
    parts = torch.stack([confusion_sum(soft[rows], labels[rows]) for rows in clients])
    whole = confusion_sum(soft, labels)
    assert torch.allclose(parts.sum(dim=0), whole, atol=1e-12)
    assert whole.sum(dim=0).round().tolist() == [15, 15, 15, 15]
    slow = torch.zeros(4, 4, dtype=torch.float64)
    for row, label in zip(soft, labels, strict=True):
        slow[:, label] += row
    assert torch.allclose(whole, slow, atol=1e-6)


@cache
def synthetic(separation: float, n: int, seed: int) -> dict[str, float]:
    """Gaussian classes, a logistic classifier, label shift: the spec's table 5.1, one seed."""
    from sklearn.linear_model import LogisticRegression

    generator, k = np.random.default_rng(seed), 5
    means = generator.normal(size=(k, 10))
    means *= separation / np.sqrt((means**2).sum(axis=1).mean()) * np.sqrt(2)
    laws = []
    for concentration, least in ((2.0, 0.04), (0.7, 0.01)):
        law = np.maximum(generator.dirichlet(np.full(k, concentration)), least)
        laws.append(law / law.sum())

    def sample(law: Array) -> tuple[Array, Any]:
        labels = generator.choice(k, size=n, p=law)
        return means[labels] + generator.normal(size=(n, 10)), labels

    (x, y), (x_t, y_t), (x_v, y_v) = sample(laws[0]), sample(laws[1]), sample(laws[0])
    classifier = LogisticRegression(max_iter=500).fit(x, y)
    share = np.bincount(y, minlength=k) / n
    true = np.bincount(y_t, minlength=k) / n / share
    confusion = classifier.predict_proba(x_v).T @ np.eye(k)[y_v]
    prediction = classifier.predict_proba(x_t).sum(axis=0)
    found = ratios(confusion, prediction, max_ratio=1e9)
    official = ratios(confusion, prediction, max_ratio=1e9, transposed=False)

    def accuracy(weights: Array) -> float:
        again = LogisticRegression(max_iter=500)
        return float(again.fit(x, y, sample_weight=weights[y] + 1e-6).score(x_t, y_t))

    return {
        "error": float(np.linalg.norm(found - true)),
        "official": float(np.linalg.norm(official - true)),
        "none": classifier.score(x_t, y_t),
        "ber_w": accuracy(found / share),
        "iw": accuracy(found),
        "oracle": accuracy(true),
    }


def table(separation: float, n: int = 3000, seeds: int = 20) -> dict[str, float]:
    rows = [synthetic(separation, n, seed) for seed in range(seeds)]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def test_the_errors_are_those_of_the_measured_table() -> None:
    weak = table(1.0)
    assert weak["error"] == pytest.approx(0.43, abs=0.01)
    assert weak["official"] == pytest.approx(3.33, abs=0.02)
    assert weak["none"] < weak["ber_w"] < weak["iw"] <= weak["oracle"]


def test_the_error_falls_with_the_examples() -> None:
    errors = [table(1.6, n, seeds=10)["error"] for n in (100, 1000, 10000)]
    assert errors == sorted(errors, reverse=True)
