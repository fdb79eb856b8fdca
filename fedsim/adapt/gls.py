"""How often each class appears in a target, seen through a classifier's mistakes on a source.

Under generalized label shift (the features of a class are alike in both domains) the ratios
``w_y = p_T(y) / p_S(y)`` solve ``C w = mu``, with ``C[i, j] = P_S(predicted i, true j)`` and
``mu[i] = P_T(predicted i)``.  Both are sums over examples: added over clients they are exactly
what one pool of examples would give.

References:
    Tachet des Combes, Zhao, Wang, Gordon, "Domain Adaptation with Conditional Distribution
    Matching and Generalized Label Shift", NeurIPS 2020, arXiv:2003.04475, equation 5.  The caps,
    the ridge and the law that several sources share are not the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ClassLoss",
    "class_weights",
    "confusion_sum",
    "ratios",
    "shared_law",
    "shared_ratios",
    "shrunk",
]

Array = NDArray[np.float64]

ClassLoss = Literal["ber", "ber_w", "iw"]

HARD = 1e4
"""How much an equality weighs beside the equations that are met as well as they can be."""
FLAT, RIDGE = 1e-4, 1e-6
"""Below this ratio of singular values the ratios are held near one, so strongly."""


def confusion_sum(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over examples of prediction times true class.

    Args:
        probabilities: of the classes, `(n, classes)`.
        labels: shape `(n,)`.

    Returns:
        Shape `(classes, classes)`, float64: rows are predicted, columns true classes; each
        column sums to how many examples its class has.
    """
    import torch

    classes = probabilities.shape[1]
    true = torch.nn.functional.one_hot(labels, classes).double()
    return probabilities.double().T @ true


def ratios(
    confusion: Array, prediction: Array, max_ratio: float = 20.0, transposed: bool = True
) -> Array:
    """Return the class ratios: ``min ||C w - mu||`` with ``w >= 0`` and ``p_S w = 1``.

    Args:
        confusion: sum of :func:`confusion_sum` over a source, `(classes, classes)`.
        prediction: sum of the predicted probabilities over a target, `(classes,)`.
        max_ratio: no ratio is larger, up to the last scaling that makes ``p_S w = 1``.
        transposed: use the gradient ``C'(C w - mu)``; False drops the transpose before ``mu``,
            as the authors' code does, which is only good to repeat its figures.

    Returns:
        Shape `(classes,)`; 0 for a class that the source does not have.

    Raises:
        ValueError: if either sum is empty.
    """
    joint, predicted = _normalised(confusion), _normalised(prediction)
    law = joint.sum(axis=0)
    is_likely = law > 0
    columns = joint[:, is_likely]
    if not transposed:
        # The w of ``C'C w - C mu = 0`` is that of least squares towards a b with ``C'b = C mu``.
        predicted = np.asarray(
            np.linalg.lstsq(joint.T, joint @ predicted, rcond=None)[0], np.float64
        )
    # A ratio of one for every class is where a source that tells nothing leaves us.
    solution = _least(columns, predicted, law[is_likely], np.ones(int(is_likely.sum())))
    solution = np.minimum(solution, max_ratio)
    weights = np.zeros(len(law))
    weights[is_likely] = solution / (law[is_likely] @ solution)
    return weights


def shared_law(
    confusions: Sequence[Array], prediction: Array, shares: Sequence[float] | None = None
) -> Array:
    """Return the one target law that explains what is predicted best, for all sources at once.

    A class that a source lacks is predicted there as the other sources say.

    Args:
        confusions: one sum a source, each `(classes, classes)`.
        prediction: sum over the target, `(classes,)`.
        shares: how much each source counts; by default by its examples.

    Returns:
        Shape `(classes,)`, sums to one; 0 for a class that no source has.

    Raises:
        ValueError: if a sum is empty.
    """
    weights = np.asarray(shares or [confusion.sum() for confusion in confusions], np.float64)
    weights = weights / weights.sum()
    columns, is_held = _given_class(confusions, weights)
    rows = [np.sqrt(share) * column for share, column in zip(weights, columns, strict=True)]
    predicted = _normalised(prediction)
    right = np.concatenate([np.sqrt(share) * predicted for share in weights])
    has_class = np.asarray(is_held.any(axis=0))
    count = int(has_class.sum())
    law = np.zeros(len(has_class))
    law[has_class] = _least(
        np.vstack(rows)[:, has_class], right, np.ones(count), np.full(count, 1 / count)
    )
    return law


def shared_ratios(confusion: Array, law: Array, max_ratio: float = 20.0) -> Array:
    """Return ``law`` over a source's own, scaled to ``p_S w = 1`` where classes are missing."""
    source_law = _normalised(confusion).sum(axis=0)
    bounded = np.minimum(
        np.divide(law, source_law, out=np.zeros_like(source_law), where=source_law > 0), max_ratio
    )
    scale = source_law @ bounded
    return bounded / scale if scale > 0 else np.where(source_law > 0, 1.0, 0.0)


def shrunk(weights: Array, strength: float) -> Array:
    """Return ``1 + strength (w - 1)``: less is moved while predictions are still poor."""
    return 1 + strength * (weights - 1)


def class_weights(kind: ClassLoss, weights: Array, law: Array) -> Array:
    """Return what an example of each class counts in the classification loss.

    ``ber`` is the paper's equation 8, as a digest of it quotes it; ``ber_w`` is what the authors'
    code does; ``iw``, which is ours, is in expectation the target's loss.

    Args:
        kind: ``1 / (k p)``, ``w / (k p)`` or ``w``.
        weights: the ratios ``w``, `(classes,)`.
        law: the source's ``p``, `(classes,)`; a class that it lacks counts 0.
    """
    if kind == "iw":
        return weights
    balanced = np.divide(1, len(law) * law, out=np.zeros_like(law), where=law > 0)
    return balanced if kind == "ber" else weights * balanced


def _least(columns: Array, right: Array, law: Array, prior: Array) -> Array:
    """Return ``min ||A w - b||`` with ``w >= 0``, ``law w = 1``; near ``prior`` where A is flat."""
    from scipy.optimize import nnls

    rows, values = [columns, HARD * law[None]], [right, np.array([HARD])]
    spread = np.linalg.svd(columns, compute_uv=False)
    if spread[-1] < FLAT * spread[0]:
        hold = np.sqrt(RIDGE)
        rows.append(hold * np.eye(len(law)))
        values.append(hold * prior)
    solution: Array = nnls(np.vstack(rows), np.concatenate(values))[0]
    return solution / (law @ solution)


def _given_class(confusions: Sequence[Array], weights: Array) -> tuple[Array, NDArray[Any]]:
    """Return ``P(predicted | true)`` of each source, and which classes it has."""
    counts = np.stack([confusion.sum(axis=0) for confusion in confusions])  # (sources, classes)
    is_held = counts > 0
    columns = np.stack(confusions) / np.where(is_held, counts, 1)[:, None, :]
    say = weights[:, None] * is_held
    say = say / np.where(say.sum(axis=0) > 0, say.sum(axis=0), 1)
    others = np.einsum("sy,spy->py", say, columns)
    return np.where(is_held[:, None, :], columns, others), is_held


def _normalised(sums: Array) -> Array:
    total = float(sums.sum())
    if not total > 0:
        raise ValueError("there is nothing to estimate class ratios from: no example was seen")
    scaled: Array = np.asarray(sums, np.float64) / total
    return scaled
