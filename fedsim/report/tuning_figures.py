"""Figures of a search for parameters: the score of every trial, and which was taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedsim.analysis.tuning_results import Tuned
from fedsim.report.svg import COLOURS, INK, MARKERS, Drawing, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["tuning_drawings"]


def tuning_drawings(searches: Sequence[Tuned], levels: Sequence[str], score: str) -> list[Drawing]:
    """Return the scores against each key, a figure for each setting.

    Args:
        searches: what was tried.
        levels: of the comparison, in its order.
        score: the metric that trials are scored by, as people call it.
    """
    drawings = []
    keys = dict.fromkeys(
        key for search in searches for tried in search.tried for key in tried.values
    )
    for number, setting in enumerate(dict.fromkeys(search.setting for search in searches)):
        for key in keys:
            group = [
                search for search in searches if search.setting == setting and _points(search, key)
            ]
            if not group:
                continue

            def fill(axes: Axes, group: Sequence[Tuned] = group, key: str = key) -> None:
                for search in group:
                    _scatter(axes, search, key, levels.index(search.level))
                if any(key in search.log for search in group):
                    _logarithmic(axes)
                axes.set(xlabel=key, ylabel=f"validation {score}")

            ends = [
                f"{search.level}: {search.values.get(key, 'nothing')} taken" for search in group
            ]
            name = f"tuning-{number + 1}-{key.replace('.', '-')}"
            drawings.append(draw(name, setting, f"{key}. {'; '.join(ends)}.", fill))
    return drawings


def _points(search: Tuned, key: str) -> list[tuple[Any, float]]:
    """Return what was tried of ``key`` with its scores; what failed has none."""
    scored = [(t.values[key], t.score) for t in search.tried if key in t.values]
    return [(_placed(x), score) for x, score in scored if score is not None]


def _placed(value: Any) -> Any:
    """Return where a value stands on an axis: true and false are words, not 1 and 0."""
    return str(value) if isinstance(value, bool) else value


def _logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=9))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _scatter(axes: Axes, search: Tuned, key: str, index: int) -> None:
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    x, y = zip(*_points(search, key), strict=True)
    axes.scatter(x, y, s=16, color=colour, marker=marker, alpha=0.7)
    if search.score is not None:
        taken = _placed(search.values[key])
        axes.scatter(taken, search.score, s=90, facecolors="none", edgecolors=INK, linewidths=1)
