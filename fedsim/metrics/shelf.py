"""The metrics there are, by name: each a formula over sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from fedsim.metrics import formulas, ranking
from fedsim.metrics.metric import Metric, Sums

__all__ = ["METRICS", "values_of"]


def _share(name: str, title: str, value: Callable[[Sums], float], wants: str) -> Metric:
    return Metric(name, title, value, (wants,))


def _lower(
    name: str, title: str, value: Callable[[Sums], float], wants: str, high: float | None = None
) -> Metric:
    better: Literal["lower"] = "lower"
    return Metric(name, title, value, (wants,), better, (0.0, high))


_AUROC = (ranking.binned_auroc, ranking.binned_auroc_bound, ranking.exact_auroc)
_PRECISION = (ranking.binned_precision, ranking.binned_precision_bound, ranking.exact_precision)


def _ranked(name: str, title: str, functions: tuple[Any, Any, Any]) -> Metric:
    value, bound, exact = functions
    return Metric(name, title, value, ("score_bins",), bound=bound, exact=exact)


_ALL = (
    _share(
        "accuracy", "accuracy", formulas.quotient("correct.count", "correct.examples"), "correct"
    ),
    _share(
        "top_5_accuracy",
        "top-5 accuracy",
        formulas.quotient("top_5.count", "top_5.examples"),
        "top_5",
    ),
    _share("balanced_accuracy", "balanced accuracy", formulas.balanced_accuracy, "confusion"),
    _share("pixel_accuracy", "pixel accuracy", formulas.pixel_accuracy, "confusion"),
    _share("precision", "precision", formulas.positive(formulas.precision), "confusion"),
    _share("recall", "recall", formulas.positive(formulas.recall), "confusion"),
    _share("f1", "F1", formulas.positive(formulas.f1), "confusion"),
    _share("jaccard", "Jaccard index", formulas.positive(formulas.jaccard), "confusion"),
    _share("precision_macro", "macro precision", formulas.macro(formulas.precision), "confusion"),
    _share("recall_macro", "macro recall", formulas.macro(formulas.recall), "confusion"),
    _share("f1_macro", "macro F1", formulas.macro(formulas.f1), "confusion"),
    _share("f1_weighted", "weighted F1", formulas.weighted(formulas.f1), "confusion"),
    _share("jaccard_macro", "macro Jaccard index", formulas.macro(formulas.jaccard), "confusion"),
    Metric("kappa", "Cohen's kappa", formulas.kappa, ("confusion",), range=(-1.0, 1.0)),
    Metric("mcc", "Matthews correlation", formulas.matthews, ("confusion",), range=(-1.0, 1.0)),
    _share(
        "label_precision",
        "label precision",
        formulas.over_labels(formulas.precision),
        "label_confusion",
    ),
    _share(
        "label_recall", "label recall", formulas.over_labels(formulas.recall), "label_confusion"
    ),
    _share("label_f1", "label F1, macro", formulas.over_labels(formulas.f1), "label_confusion"),
    _share(
        "label_f1_micro", "label F1, micro", formulas.all_labels(formulas.f1), "label_confusion"
    ),
    _share(
        "label_jaccard",
        "label Jaccard index",
        formulas.over_labels(formulas.jaccard),
        "label_confusion",
    ),
    _share(
        "exact_match",
        "exact matches",
        formulas.quotient("label_confusion.matches", "label_confusion.examples"),
        "label_confusion",
    ),
    _lower("loss", "loss", formulas.quotient("loss.sum", "loss.units"), "loss"),
    _lower("log_loss", "log loss", formulas.quotient("log_loss.sum", "log_loss.units"), "log_loss"),
    _lower("perplexity", "perplexity", formulas.perplexity, "loss"),
    _lower(
        "brier", "Brier score", formulas.quotient("brier.squared", "brier.examples"), "brier", 2.0
    ),
    _lower("ece", "calibration error", formulas.calibration_error, "calibration", 1.0),
    _ranked("auroc", "AUROC", _AUROC),
    _ranked("average_precision", "average precision", _PRECISION),
    _lower("mae", "mean absolute error", formulas.error("absolute"), "deviation"),
    _lower("mse", "mean squared error", formulas.error("squared"), "deviation"),
    _lower("rmse", "RMSE", formulas.rmse, "deviation"),
    Metric("r2", "R²", formulas.r2, ("deviation",), range=(None, 1.0)),
    Metric("pearson", "Pearson correlation", formulas.pearson, ("deviation",), range=(-1.0, 1.0)),
    _share(
        "token_accuracy",
        "token accuracy",
        formulas.quotient("token_matches.count", "token_matches.tokens"),
        "token_matches",
    ),
    _share("dice", "Dice", formulas.macro(formulas.f1), "confusion"),
    _share("iou", "IoU", formulas.macro(formulas.jaccard), "confusion"),
    _share(
        "dice_image",
        "Dice per image",
        formulas.quotient("image_overlap.dice", "image_overlap.images"),
        "image_overlap",
    ),
    _share("c_index_within", "concordance within clients", formulas.concordance, "concordance"),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""By name."""


def values_of(sums: Sums) -> dict[str, float]:
    """Return every metric that ``sums`` tell; of those of the loss alone, the loss itself."""
    told = {key.partition(".")[0] for key in sums}
    return {
        name: metric.value(sums)
        for name, metric in METRICS.items()
        if told.issuperset(metric.statistics) and (metric.statistics != ("loss",) or name == "loss")
    }
