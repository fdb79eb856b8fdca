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
    totals: dict[str, list[tuple[float, int]]] = {}
    for turn in turns:
        for name, value in turn.metrics.items():
            if math.isfinite(value) and turn.examples:
                totals.setdefault(name, []).append((value * turn.examples, turn.examples))
    return {
        name: math.fsum(x for x, _ in parts) / sum(n for _, n in parts)
        for name, parts in sorted(totals.items())
    }
