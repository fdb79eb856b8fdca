"""Formulas from sums to metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.metrics.metric import Sums

__all__ = [
    "all_labels",
    "balanced_accuracy",
    "calibration_error",
    "concordance",
    "error",
    "f1",
    "jaccard",
    "kappa",
    "macro",
    "matthews",
    "over_labels",
    "pearson",
    "perplexity",
    "pixel_accuracy",
    "positive",
    "precision",
    "quotient",
    "r2",
    "recall",
    "rmse",
    "weighted",
]

Values = NDArray[Any]


def _ratio(numerator: Any, denominator: Any) -> Values:
    """Return the ratios, 0 where the denominator is 0: scikit-learn's ``zero_division=0``."""
    top, bottom = np.asarray(numerator, float), np.asarray(denominator, float)
    ratios: Values = np.divide(top, bottom, out=np.zeros_like(bottom), where=bottom != 0)
    return ratios


def quotient(numerator: str, denominator: str) -> Callable[[Sums], float]:
    """Return the metric that is one sum by another; NaN where the other is 0."""

    def value(sums: Sums) -> float:
        total = float(sums[denominator])
        return float(sums[numerator]) / total if total else math.nan

    return value


def _counts(sums: Sums, statistic: str) -> tuple[Values, Values, Values]:
    names = ("true_positive", "predicted", "actual")
    right, predicted, actual = (sums[f"{statistic}.{name}"].astype(float) for name in names)
    return right, predicted, actual


Formula = Callable[[Values, Values, Values], Values]
"""From right predictions, predictions and examples, by class, to a value by class."""


def precision(right: Values, predicted: Values, actual: Values) -> Values:
    """Return the share of predictions that are right, by class."""
    return _ratio(right, predicted)


def recall(right: Values, predicted: Values, actual: Values) -> Values:
    """Return the share of examples that are found, by class."""
    return _ratio(right, actual)


def f1(right: Values, predicted: Values, actual: Values) -> Values:
    """Return the harmonic mean of precision and recall, also called Dice, by class."""
    return _ratio(2 * right, predicted + actual)


def jaccard(right: Values, predicted: Values, actual: Values) -> Values:
    """Return intersection over union, by class."""
    return _ratio(right, predicted + actual - right)


def macro(formula: Formula) -> Callable[[Sums], float]:
    """Return the mean over the classes that are predicted or there."""

    def value(sums: Sums) -> float:
        counts = _counts(sums, "confusion")
        present = counts[1] + counts[2] > 0
        return float(formula(*counts)[present].mean()) if present.any() else math.nan

    return value


def weighted(formula: Formula) -> Callable[[Sums], float]:
    """Return the mean over classes, each counted by its examples."""

    def value(sums: Sums) -> float:
        counts = _counts(sums, "confusion")
        total = counts[2].sum()
        return float((formula(*counts) * counts[2]).sum() / total) if total else math.nan

    return value


def positive(formula: Formula) -> Callable[[Sums], float]:
    """Return the value of class 1, where there are two."""
    return lambda sums: float(formula(*_counts(sums, "confusion"))[1])


def over_labels(formula: Formula) -> Callable[[Sums], float]:
    """Return the mean over the labels of a multi-label task."""
    return lambda sums: float(formula(*_counts(sums, "label_confusion")).mean())


def all_labels(formula: Formula) -> Callable[[Sums], float]:
    """Return the value of all labels' decisions together."""
    return lambda sums: float(
        formula(*(counts.sum(keepdims=True) for counts in _counts(sums, "label_confusion")))[0]
    )


def balanced_accuracy(sums: Sums) -> float:
    """Return the mean recall over the classes that there are."""
    right, _, actual = _counts(sums, "confusion")
    present = actual > 0
    return float((right[present] / actual[present]).mean()) if present.any() else math.nan


def pixel_accuracy(sums: Sums) -> float:
    """Return the share of places whose class is right."""
    right, _, actual = _counts(sums, "confusion")
    return float(right.sum() / actual.sum()) if actual.sum() else math.nan


def kappa(sums: Sums) -> float:
    """Return ``(p_o - p_e) / (1 - p_e)``: Cohen, Educational and Psychological Measurement 20."""
    right, predicted, actual = _counts(sums, "confusion")
    total = actual.sum()
    if not total:
        return math.nan
    chance = float((predicted * actual).sum() / total**2)
    return (float(right.sum() / total) - chance) / (1 - chance) if chance < 1 else math.nan


def matthews(sums: Sums) -> float:
    """Return ``R_K`` of Gorodkin 2004, equation 8; 0 where a class is all that is predicted."""
    right, predicted, actual = _counts(sums, "confusion")
    total = actual.sum()
    covariance = right.sum() * total - (predicted * actual).sum()
    spread = (total**2 - (predicted**2).sum()) * (total**2 - (actual**2).sum())
    return float(covariance / math.sqrt(spread)) if spread > 0 else 0.0


def calibration_error(sums: Sums) -> float:
    """Return ``sum_b n_b / n |accuracy_b - confidence_b|``: Guo et al. 2017, equation 3."""
    apart = np.abs(sums["calibration.correct"] - sums["calibration.confidence"]).sum()
    total = sums["calibration.count"].sum()
    return float(apart / total) if total else math.nan


def perplexity(sums: Sums) -> float:
    """Return the exponential of the pooled mean loss, never a mean of exponentials."""
    mean = quotient("loss.sum", "loss.units")(sums)
    return math.exp(mean) if mean < 700 else math.inf


def error(name: str) -> Callable[[Sums], float]:
    """Return the mean over outputs of a mean error."""

    def value(sums: Sums) -> float:
        total = float(sums["deviation.weight"])
        return float(sums[f"deviation.{name}"].mean() / total) if total else math.nan

    return value


def rmse(sums: Sums) -> float:
    """Return the root of the mean squared error over examples, then the mean over outputs."""
    total = float(sums["deviation.weight"])
    return float(np.sqrt(sums["deviation.squared"] / total).mean()) if total else math.nan


def r2(sums: Sums) -> float:
    """Return ``1 - sum (p - y)^2 / sum (y - mean)^2``, the mean over outputs."""
    total = float(sums["deviation.weight"])
    if not total:
        return math.nan
    spread = sums["deviation.target_squared"] - sums["deviation.target"] ** 2 / total
    return (
        float((1 - sums["deviation.squared"] / spread).mean()) if (spread > 0).all() else math.nan
    )


def pearson(sums: Sums) -> float:
    """Return the correlation of predictions and targets, the mean over outputs."""
    total = float(sums["deviation.weight"])
    if not total:
        return math.nan
    target, value = sums["deviation.target"], sums["deviation.value"]
    covariance = sums["deviation.product"] - target * value / total
    spread = (sums["deviation.target_squared"] - target**2 / total) * (
        sums["deviation.value_squared"] - value**2 / total
    )
    return float((covariance / np.sqrt(spread)).mean()) if (spread > 0).all() else math.nan


def concordance(sums: Sums) -> float:
    """Return the share of comparable pairs in the right order, ties as one half."""
    pairs = float(sums["concordance.comparable"])
    right = float(sums["concordance.concordant"]) + float(sums["concordance.tied"]) / 2
    return right / pairs if pairs else math.nan
