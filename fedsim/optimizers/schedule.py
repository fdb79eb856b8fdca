"""The contract of a schedule of the step size, over rounds and over the steps of a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from fedsim.errors import RunError

__all__ = ["RateSchedule"]


@dataclass(frozen=True)
class RateSchedule:
    """What the step size is multiplied by; time goes by rounds, by steps, or by both.

    Time ``t`` is the rounds before this one, the steps of the turn before this one, or both: rounds
    and the share of the turn that is done.  During the warm-up of ``w`` the factor is
    ``(t + 1) / (w + 1)``, and after it that of the schedule.
    """

    over: Literal["rounds", "steps", "both"] = "rounds"
    """What time goes by: rounds, the steps of each turn, or rounds and the steps between them."""
    warmup: Annotated[int, Ge(0)] = 0
    """How many rounds (with `over: steps`, steps) the step size takes to rise to its height."""
    length: Annotated[int, Ge(1)] | None = None
    """How many rounds it takes to the end, by default all of the scenario; not used over steps."""

    def factor(self, elapsed: float, total: float) -> float:
        """Return the factor after the warm-up.

        Args:
            elapsed: time since then, from 0.
            total: how much time there is after the warm-up; above 0.
        """
        raise NotImplementedError(f"{type(self).__name__} has no factor")

    def factors(self, round: int, steps: int) -> list[float]:
        """Return the factor of each of the ``steps`` that a turn in ``round``, from 1, takes.

        Raises:
            RunError: if the schedule ends with the rounds, and nobody says how many there are.
        """
        if self.over == "steps":
            return [self._at(float(step), steps) for step in range(steps)]
        if self.length is None:
            raise RunError(f"{type(self).__name__}: length, in rounds, is missing")
        if self.over == "rounds":
            return [self._at(round - 1.0, self.length)] * steps
        return [self._at(round - 1 + step / steps, self.length) for step in range(steps)]

    def _at(self, time: float, length: int) -> float:
        if time < self.warmup:
            return (time + 1) / (self.warmup + 1)
        return self.factor(time - self.warmup, max(length - self.warmup, 1))
