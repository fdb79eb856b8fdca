"""Clients' own metrics, many to one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fedsim.wire import Turn

__all__ = ["means"]


def means(turns: Sequence[Turn]) -> dict[str, float]:
    """Return the mean of each metric over ``turns``, weighted by examples.

    A turn whose metric is not finite, or that worked on no example, is left out of that mean.
    """
    found = {}
    for name in sorted({name for turn in turns for name in turn.metrics}):
        of = [
            turn
            for turn in turns
            if turn.examples and math.isfinite(turn.metrics.get(name, math.nan))
        ]
        if of:
            total = math.fsum(turn.metrics[name] * turn.examples for turn in of)
            found[name] = total / sum(turn.examples for turn in of)
    return found
