"""Privacy on the page: statements, and accuracy against epsilon where both mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.report.compare import Comparison
from fedsim.report.svg import COLOURS, MARKERS, Drawing, draw
from fedsim.report.words import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Spending", "by_statement", "epsilon_drawings"]


Point = tuple[int, float, float, float]


@dataclass(frozen=True)
class Spending:
    """What a level has spent in a setting."""

    level: str
    setting: str
    unit: str
    """Whose presence is hidden."""
    delta: float
    epsilon: float | None
    """Of whoever has paid most."""
    lines: tuple[tuple[str, str], ...]
    """The statement."""


def by_statement(found: Sequence[Spending]) -> list[tuple[str, Spending]]:
    """Return each distinct statement once, with the names of all whom it is true of."""
    names: dict[tuple[tuple[str, str], ...], list[str]] = {}
    first: dict[tuple[tuple[str, str], ...], Spending] = {}
    for one in found:
        name = f"{one.level}, {one.setting}" if one.setting else one.level
        names.setdefault(one.lines, []).append(name)
        first.setdefault(one.lines, one)
    return [("; ".join(names[lines]), one) for lines, one in first.items()]


def epsilon_drawings(comparison: Comparison, found: Sequence[Spending]) -> list[Drawing]:
    """Return the primary metric against epsilon, a figure for each unit, delta and setting.

    Epsilons of other units or deltas are other quantities: they never share an axis.
    """
    levels = comparison.collection.levels
    metric = METRICS[comparison.collection.question.metric]
    drawings = []
    groups = dict.fromkeys((one.setting, one.unit, one.delta) for one in found)
    for number, (setting, unit, delta) in enumerate(groups):
        points: list[Point] = [
            (levels.index(one.level), one.epsilon, place.mean, place.half or 0.0)
            for one in found
            if (one.setting, one.unit, one.delta) == (setting, unit, delta)
            and one.epsilon is not None
            and (place := comparison.place(one.level, setting).interval) is not None
        ]
        if not points:
            continue

        label = f"epsilon for one {unit}, delta {delta:g}"

        def fill(axes: Axes, points: list[Point] = points, label: str = label) -> None:
            for index, epsilon, mean, half in points:
                colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
                axes.errorbar(epsilon, mean, half, color=colour, marker=marker, capsize=2)
            axes.set(xlabel=label, ylabel=metric)
            axes.set_xlim(left=0)

        ends = [f"{levels[i]}: {mean:.3f} at epsilon {e:.3g}" for i, e, mean, _ in points]
        drawings.append(draw(f"epsilon-{number + 1}", setting, "; ".join(ends), fill))
    return drawings
