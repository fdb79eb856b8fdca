"""Figures of privacy: epsilon over rounds, and accuracy against it where both mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedsim.analysis.compare import Comparison
from fedsim.analysis.spending import Spending
from fedsim.report.svg import COLOURS, INK, MARKERS, Drawing, dash, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["epsilon_drawings", "spending_drawings"]


Point = tuple[int, float, float, float]


def _groups(spendings: Sequence[Spending]) -> list[list[Spending]]:
    """Return those together whose epsilons mean the same, setting by setting."""
    keys = dict.fromkeys(
        (spending.setting, spending.unit, spending.delta) for spending in spendings
    )
    return [
        [
            spending
            for spending in spendings
            if (spending.setting, spending.unit, spending.delta) == key
        ]
        for key in keys
    ]


def spending_drawings(levels: Sequence[str], spendings: Sequence[Spending]) -> list[Drawing]:
    """Return epsilon over rounds with the budget, a figure for each unit, delta and setting."""
    drawings = []
    for number, group in enumerate(_groups(spendings), 1):
        if not any(spending.curve for spending in group):
            continue
        label = f"epsilon for one {group[0].unit}, delta {group[0].delta:g}"

        def fill(axes: Axes, group: list[Spending] = group, label: str = label) -> None:
            for spending in group:
                index = levels.index(spending.level)
                x, y = zip(*spending.curve, strict=True) if spending.curve else ((), ())
                colour, style = COLOURS[index % len(COLOURS)], dash(index)
                axes.plot(x, y, color=colour, linestyle=(0, style) if style else "-", marker=".")
            for most in {spending.budget for spending in group if spending.budget is not None}:
                axes.axhline(most, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
            axes.set(xlabel="round", ylabel=label)
            axes.set_ylim(bottom=0)
            axes.locator_params(axis="x", nbins=6, integer=True)

        ends = [
            f"{spending.level}: {spending.epsilon:.3g}"
            for spending in group
            if spending.epsilon is not None
        ]
        name = f"spending-{number}"
        drawings.append(draw(name, group[0].setting, f"{label}. {'; '.join(ends)}.", fill))
    return drawings


def epsilon_drawings(comparison: Comparison, spendings: Sequence[Spending]) -> list[Drawing]:
    """Return the primary metric against epsilon, a figure for each unit, delta and setting.

    Epsilons of other units or deltas are other quantities: they never share an axis.
    """
    levels = comparison.collection.levels
    metric = comparison.collection.compared.info.title
    drawings = []
    for number, group in enumerate(_groups(spendings)):
        setting, unit, delta = group[0].setting, group[0].unit, group[0].delta
        points: list[Point] = [
            (levels.index(spending.level), spending.epsilon, place.mean, place.half or 0.0)
            for spending in group
            if spending.epsilon is not None
            and (place := comparison.place(spending.level, setting).interval) is not None
        ]
        if not points:
            continue

        label = f"epsilon for one {unit}, delta {delta:g}"

        def fill(axes: Axes, points: list[Point] = points, label: str = label) -> None:
            for index, epsilon, mean, half in points:
                colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
                axes.errorbar(epsilon, mean, half, color=colour, marker=marker, capsize=2)
            axes.set(xlabel=label, ylabel=metric)
            axes.set_xlim(0, 1.12 * max(epsilon for _, epsilon, _, _ in points))
            axes.locator_params(axis="x", nbins=6)

        ends = [f"{levels[i]}: {mean:.3f} at epsilon {e:.3g}" for i, e, mean, _ in points]
        drawings.append(draw(f"epsilon-{number + 1}", setting, "; ".join(ends), fill))
    return drawings
