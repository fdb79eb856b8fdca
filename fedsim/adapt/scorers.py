"""How good a model may be on a target, estimated without its labels: higher is better.

References:
    You, Wang, Long, Jordan, "Towards Accurate Model Selection in Deep Unsupervised Domain
    Adaptation", ICML 2019, for ``dev``; Morerio, Cavazza, Murino, "Minimal-Entropy Correlation
    Alignment for Unsupervised Deep Domain Adaptation", ICLR 2018, arXiv:1711.10288.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import MissingPackage

__all__ = ["certain", "dev", "risk_with_control"]

Array = NDArray[Any]


def certain(probabilities: Array) -> float:
    """Return minus the mean entropy, in nats, of what is predicted of a target, `(n, classes)`."""
    return float((probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1).mean())


def dev(source: Array, target: Array, losses: Array, validation: Array) -> float:
    """Return minus the deep embedded validation risk.

    Args:
        source: features of the sources' training examples, `(n, width)`.
        target: features of the targets' examples.
        losses: of the sources' validation examples, `(m,)`.
        validation: their features, `(m, width)`.

    Raises:
        MissingPackage: if scikit-learn is absent.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingPackage("select: dev needs scikit-learn: pip install 'fedsim[sim]'") from error
    rows = np.concatenate([source, target])
    rows = (rows - (centre := rows.mean(axis=0))) / (spread := rows.std(axis=0) + 1e-9)
    is_target = np.repeat([0, 1], [len(source), len(target)])
    tells = LogisticRegression(max_iter=2000).fit(rows, is_target)
    share = tells.predict_proba((validation - centre) / spread)[:, 1].clip(1e-6, 1 - 1e-6)
    ratio = share / (1 - share) * len(source) / len(target)
    return -risk_with_control(losses, ratio)


def risk_with_control(losses: Array, ratio: Array) -> float:
    """Return the mean of ``ratio * loss``, less its part that is due to ``ratio`` alone.

    The mean ratio is one in truth, so adding a multiple of its error changes no expectation, and
    the multiple is chosen to lower the variance the most.
    """
    weighted = ratio * losses
    spread = ratio.var()
    factor = -np.cov(weighted, ratio, bias=True)[0, 1] / spread if spread > 0 else 0.0
    return float(weighted.mean() + factor * (ratio.mean() - 1))
