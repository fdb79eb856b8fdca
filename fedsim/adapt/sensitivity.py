"""The L2 sensitivity of each sum that domains release: how far one example moves it.

Neighbours differ by one example of one client, added or removed.  A statistic that is not here
has no bound that is known, and does not leave a client under privacy.
"""

from __future__ import annotations

import math

__all__ = [
    "CLASS_COUNT",
    "CONFUSION",
    "PREDICTION",
    "RANDOM_FEATURES",
    "UNIT_MOMENTS",
    "class_sums",
    "joint_features",
]

CONFUSION = 1.0
"""Of :func:`fedsim.adapt.gls.confusion_sum`: an example adds its probabilities to one column."""
PREDICTION = 1.0
"""Of the sum of predicted probabilities: a row of a simplex is no longer than one."""
CLASS_COUNT = 1.0
"""Of counts by class."""
RANDOM_FEATURES = 1.0
"""Of class sums of :func:`fedsim.adapt.features.random_features`: each row has length one."""
UNIT_MOMENTS = math.sqrt(3)
"""Of class moments of rows of length one: outer product (upper triangle), row and count."""


def joint_features(most: float) -> float:
    """Return that of a sum of :class:`fedsim.adapt.features.JointFeatures`.

    Args:
        most: no example counts more than so much in the sum.
    """
    return math.sqrt(5) * most


def class_sums(bound: float) -> float:
    """Return that of class sums and counts together, of features no longer than ``bound``."""
    return math.hypot(bound, CLASS_COUNT)
