"""How well scores order positives before negatives: binned sums with a bound, and exact values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedsim.metrics.metric import Sums
from fedsim.metrics.scored import ScoredBatch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ScoreBins",
    "binned_auroc",
    "binned_auroc_bound",
    "binned_precision",
    "binned_precision_bound",
    "exact_auroc",
    "exact_precision",
]

Values = NDArray[Any]
BINS, REACH = 4096, 16.0
"""Bins, uniform in the logit from -16 to 16: the usual bins of the probability lose the tails,
where rare positives are."""


@dataclass(frozen=True)
class ScoreBins:
    """By label and bin of the logit, `(k, bins)`: positives and negatives."""

    name: str = "score_bins"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return ``positive`` and ``negative``."""
        import torch

        scores, targets = batch.predictions["scores"].double(), batch.targets > 0
        scores, targets = (x[:, None] if x.dim() == 1 else x for x in (scores, targets))
        at = ((scores + REACH) * (BINS / (2 * REACH))).floor().clamp(0, BINS - 1).long()
        labels = scores.shape[1]
        cell = at + BINS * torch.arange(labels, device=at.device)
        weights = None if batch.weights is None else batch.weights[:, None].expand_as(scores)
        counts = {}
        for name, which in (("positive", targets), ("negative", ~targets)):
            chosen = None if weights is None else weights[which]
            counts[name] = cell[which].bincount(chosen, minlength=labels * BINS)
        return {name: count.view(labels, BINS) for name, count in counts.items()}


def binned_auroc(sums: Sums) -> float:
    """Return the area under the ROC curve, ties within a bin counted as one half.

    ``A = sum_b p_b (N_b + n_b / 2) / (P N)`` with ``p_b`` positives and ``n_b`` negatives in bin
    b and ``N_b`` negatives below it; the mean over the labels that have both.
    """
    positive, negative = _bins(sums)
    below = negative.cumsum(axis=1) - negative
    return _mean((positive * (below + negative / 2)).sum(axis=1), _pairs(positive, negative))


def binned_auroc_bound(sums: Sums) -> float:
    """Return how far the exact area may be: ``sum_b p_b n_b / (2 P N)``."""
    positive, negative = _bins(sums)
    return _mean((positive * negative).sum(axis=1) / 2, _pairs(positive, negative))


def binned_precision(sums: Sums) -> float:
    """Return the average precision with one threshold a bin."""
    positive, negative = _bins(sums)
    above_p = positive[:, ::-1].cumsum(axis=1)
    above_n = negative[:, ::-1].cumsum(axis=1)
    gained = positive[:, ::-1] * _ratio(above_p, above_p + above_n)
    return _mean(gained.sum(axis=1), positive.sum(axis=1))


def binned_precision_bound(sums: Sums) -> float:
    """Return how far the exact average precision may be.

    It is largest where each bin's positives share one score above the bin's negatives, and least
    where they come one by one below them.
    """
    positive, negative = _bins(sums)
    p, n = positive[:, ::-1], negative[:, ::-1]  # from the highest score down
    above_p, above_n = p.cumsum(axis=1) - p, n.cumsum(axis=1) - n
    total = positive.sum(axis=1)
    most = _mean((p * _ratio(above_p + p, above_p + p + above_n)).sum(axis=1), total)
    least = _mean(_one_by_one(above_p, p, above_n + n).sum(axis=1), total)
    value = binned_precision(sums)
    return max(most - value, value - least)


def exact_auroc(scores: Values, targets: Values, weights: Values | None) -> float:
    """Return the exact area, mean over labels; arguments `(n,)` or `(n, k)`, weights `(n,)`."""
    return _over_labels(_auroc_of, scores, targets, weights)


def exact_precision(scores: Values, targets: Values, weights: Values | None) -> float:
    """Return the exact average precision, ``sum_k (R_k - R_{k-1}) P_k``, mean over labels."""
    return _over_labels(_precision_of, scores, targets, weights)


def _bins(sums: Sums) -> tuple[Values, Values]:
    return tuple(sums[f"score_bins.{name}"].astype(float) for name in ("positive", "negative"))  # type: ignore[return-value]


def _pairs(positive: Values, negative: Values) -> Values:
    pairs: Values = positive.sum(axis=1) * negative.sum(axis=1)
    return pairs


def _mean(numerators: Values, denominators: Values) -> float:
    """Return the mean ratio over the labels whose denominator is not 0; NaN without any."""
    defined = denominators > 0
    return float((numerators[defined] / denominators[defined]).mean()) if defined.any() else np.nan


def _one_by_one(above: Values, count: Values, front: Values) -> Values:
    """Return ``sum_{i=1..count} (above + i) / (above + i + front)``, for weights as well."""
    from scipy.special import digamma

    start = above + front + 1
    least: Values = count - front * (digamma(start + count) - digamma(start))
    return least


def _ratio(numerator: Values, denominator: Values) -> Values:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _over_labels(function: Any, scores: Values, targets: Values, weights: Values | None) -> float:
    weights = np.ones(len(scores)) if weights is None else weights
    columns = scores.reshape(len(scores), -1).T, targets.reshape(len(targets), -1).T
    values = [function(*pair, weights) for pair in zip(*columns, strict=True)]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else np.nan


def _steps(scores: Values, targets: Values, weights: Values) -> tuple[Values, Values]:
    """Return positives and negatives above and at each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    is_last = np.r_[np.diff(scores[order]) != 0, True]
    positive = np.cumsum(weights[order] * (targets[order] > 0))[is_last]
    negative = np.cumsum(weights[order] * (targets[order] <= 0))[is_last]
    return positive, negative


def _auroc_of(scores: Values, targets: Values, weights: Values) -> float:
    positive, negative = _steps(scores, targets, weights)
    pairs = positive[-1] * negative[-1]
    if not pairs:
        return np.nan
    new = np.diff(np.r_[0.0, negative])
    mean = (positive + np.r_[0.0, positive[:-1]]) / 2
    return float((new * mean).sum() / pairs)


def _precision_of(scores: Values, targets: Values, weights: Values) -> float:
    positive, negative = _steps(scores, targets, weights)
    if not positive[-1]:
        return np.nan
    gained = np.diff(np.r_[0.0, positive])
    return float((gained * positive / (positive + negative)).sum() / positive[-1])
