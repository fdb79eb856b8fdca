"""The shelf of schedules: constant, cosine, linear, step and exponential."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from fedsim.optimizers.schedule import RateSchedule

__all__ = ["Constant", "Cosine", "Exponential", "Linear", "Step"]


@dataclass(frozen=True)
class Constant(RateSchedule):
    """The step size stays, after the warm-up."""

    def factor(self, elapsed: float, total: float) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class Cosine(RateSchedule):
    """The step size falls along half a cosine.

    References:
        Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017,
        equation 5, without restarts.
    """

    floor: Annotated[float, Ge(0), Le(1)] = 0.0
    """What the factor falls to."""

    def factor(self, elapsed: float, total: float) -> float:
        """Return ``floor + (1 - floor) (1 + cos(pi elapsed / total)) / 2``."""
        share = min(elapsed / total, 1.0)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class Linear(RateSchedule):
    """The step size falls along a line."""

    floor: Annotated[float, Ge(0), Le(1)] = 0.0
    """What the factor falls to."""

    def factor(self, elapsed: float, total: float) -> float:
        """Return ``1 - (1 - floor) elapsed / total``."""
        return 1 - (1 - self.floor) * min(elapsed / total, 1.0)


@dataclass(frozen=True)
class Step(RateSchedule):
    """The step size falls at once, after every so many rounds or steps."""

    every: Annotated[int, Ge(1)] = 10
    """How many rounds (with `over: steps`, steps) lie between two falls."""
    gamma: Annotated[float, Gt(0), Le(1)] = 0.1
    """What the step size is multiplied by at each fall."""

    def factor(self, elapsed: float, total: float) -> float:
        """Return ``gamma ^ floor(elapsed / every)``."""
        return math.pow(self.gamma, math.floor(elapsed / self.every))


@dataclass(frozen=True)
class Exponential(RateSchedule):
    """The step size falls by the same share in every round or step."""

    gamma: Annotated[float, Gt(0), Le(1)] = 0.99
    """What the step size is multiplied by."""

    def factor(self, elapsed: float, total: float) -> float:
        """Return ``gamma ^ elapsed``."""
        return math.pow(self.gamma, elapsed)
