"""What levels of a study have spent of their privacy budgets, with the statements of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Spending", "by_statement"]


@dataclass(frozen=True)
class Spending:
    """What a level has spent in a setting."""

    level: str
    setting: str
    unit: str
    """Whose presence is hidden."""
    delta: float
    curve: tuple[tuple[int, float], ...]
    """The epsilon of whoever has paid most, after some rounds and the last; may be empty."""
    budget: float | None
    """What it may come to at most; None where nothing is said."""
    lines: tuple[tuple[str, str], ...]
    """The statement."""

    @property
    def epsilon(self) -> float | None:
        """What whoever has paid most has spent in all; None where nobody can tell."""
        return self.curve[-1][1] if self.curve else None


def by_statement(spendings: Sequence[Spending]) -> list[tuple[str, Spending]]:
    """Return each distinct statement once, with the names of all whom it is true of."""
    names: dict[tuple[tuple[str, str], ...], list[str]] = {}
    first: dict[tuple[tuple[str, str], ...], Spending] = {}
    for spending in spendings:
        name = f"{spending.level}, {spending.setting}" if spending.setting else spending.level
        names.setdefault(spending.lines, []).append(name)
        first.setdefault(spending.lines, spending)
    return [("; ".join(names[lines]), spending) for lines, spending in first.items()]
