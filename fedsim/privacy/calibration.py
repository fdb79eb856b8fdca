"""Inverse accounting: how much noise, or how many turns, a budget allows."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["affordable", "noise_for"]

CLOSE = 1e-3
"""How far below the wished epsilon the noise that is found for it may end."""


def affordable(limit: float, epsilon_of: Callable[[int], float], most: int) -> int:
    """Return how many turns, of at most ``most``, stay within ``limit``.

    Args:
        limit: of epsilon.
        epsilon_of: what so many turns come to; grows with them.
        most: what is asked first, because as a rule all of it is affordable.
    """
    if epsilon_of(most) <= limit:
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if epsilon_of(middle) <= limit else (low, middle)
    return low


def noise_for(target: float, epsilon_of: Callable[[float], float], start: float = 1.0) -> float:
    """Return the least noise multiplier, nearly, whose epsilon is at most ``target``.

    The epsilon of what is returned is at most ``target``, and at least ``target - 0.001`` or
    as near as noise multipliers of six digits come.

    Args:
        target: the epsilon that is wished for.
        epsilon_of: what a noise multiplier comes to; falls as it grows.
        start: a guess; what is found does not depend on it by more than the said 0.001.

    Raises:
        ValueError: if a million times the sensitivity is not enough.
    """
    low, high = _bracket(target, epsilon_of, start)
    (_, above), (_, below) = low, high
    # Regula falsi on logarithms, on which the curve is nearly straight (Illinois' rule).
    while high[0] - low[0] > 1e-6 and target - math.exp(high[1]) > CLOSE:
        share = (above - math.log(target)) / (above - below)
        middle = low[0] + min(max(share, 0.02), 0.98) * (high[0] - low[0])
        log_epsilon = math.log(max(epsilon_of(math.exp(middle)), 1e-300))
        if log_epsilon > math.log(target):
            low, above, below = (middle, log_epsilon), log_epsilon, (below + math.log(target)) / 2
        else:
            high, below, above = (middle, log_epsilon), log_epsilon, (above + math.log(target)) / 2
    # Six digits are what a scenario file would say; rounded upwards, never below the target.
    noise = math.exp(high[0])
    unit = 10.0 ** (math.floor(math.log10(noise)) - 5)
    return float(f"{math.ceil(noise / unit) * unit:.6g}")


def _bracket(
    target: float, epsilon_of: Callable[[float], float], start: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return two points of the curve, as logarithms: one above the target and one below."""

    def point(noise: float) -> tuple[float, float]:
        # An epsilon of zero has no logarithm; one of infinity is as good as any above.
        return math.log(noise), math.log(min(max(epsilon_of(noise), 1e-300), 1e300))

    high = low = point(start)
    step = 1.25
    while high[1] > math.log(target):
        low, high, step = high, point(step * math.exp(high[0])), step**1.5
        if high[0] > math.log(1e6):
            raise ValueError(f"no noise reaches epsilon {target:g}")
    while low[1] <= math.log(target) and low[0] > math.log(0.02):
        low, high, step = point(math.exp(low[0]) / step), low, step**1.5
    return low, high
