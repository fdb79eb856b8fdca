"""Learning curves over rounds, bytes and seconds, and what the primary metric costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsim.analysis.collect import Collection, Trial
from fedsim.analysis.compare import Comparison
from fedsim.analysis.question import metric_of
from fedsim.analysis.statistics import interval
from fedsim.report.svg import COLOURS, INK, MARKERS, Drawing, dash, draw, shorten
from fedsim.runlog.metric_info import MetricInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AXES", "cost_drawings", "curve_drawings", "rank_drawing", "series"]

AXES = {"rounds": "round", "bytes": "sent since the start, MB", "seconds": "seconds of computing"}
MOST = 200
"""Points of a curve; more are no finer on a page."""


@dataclass(frozen=True)
class Series:
    """A level's curve in a setting: a mean over seeds with its interval."""

    level: str
    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    """Equal to ``mean`` with one seed."""


def series(collection: Collection, level: str, setting: str, axis: str) -> Series | None:
    """Return the mean curve of the runs that finished, at the rounds that all of them judged."""
    metric = collection.question.metric
    curves = [
        _points(points, metric, axis)
        for points in collection.of(level, setting)
        if points.status == "finished"
    ]
    shared = sorted(set.intersection(*(set(points) for points in curves))) if curves else []
    if not shared:
        return None
    if len(shared) > MOST:
        shared = [shared[int(k)] for k in np.linspace(0, len(shared) - 1, MOST).round()]
    x = [float(np.mean([points[at][0] for points in curves])) for at in shared]
    intervals = [
        interval([points[at][1] for points in curves], collection.question.ci) for at in shared
    ]
    return Series(
        level,
        tuple(x),
        tuple(points.mean for points in intervals),
        tuple(points.mean if points.low is None else points.low for points in intervals),
        tuple(points.mean if points.high is None else points.high for points in intervals),
    )


def _points(trial: Trial, metric: str, axis: str) -> dict[int, tuple[float, float]]:
    """Return for each judged round where it is on the axis, and the metric."""
    steps: dict[str, list[float]] = {
        "rounds": [float(record.round) for record in trial.records],
        "bytes": list(accumulate((r.bytes_up + r.bytes_down) / 1e6 for r in trial.records)),
        "seconds": list(accumulate(record.seconds for record in trial.records)),
    }
    return {
        record.round: (at, value)
        for record, at in zip(trial.records, steps[axis], strict=True)
        if (value := metric_of(record, metric)) is not None
    }


def curve_drawings(collection: Collection, axis: str) -> list[Drawing]:
    """Return a figure for each setting, all with the same height of scale."""
    drawings = []
    all_series = {
        (level, setting): series(collection, level, setting, axis)
        for setting in collection.settings
        for level in collection.levels
    }
    compared = collection.compared.info
    gone = {setting: _gone(collection, setting, axis) for setting in collection.settings}
    limits = _limits([line for line in all_series.values() if line], gone.values(), compared)
    for number, setting in enumerate(collection.settings):
        shown = [all_series[level, setting] for level in collection.levels]
        lost_runs = gone[setting]
        if not any(shown) and not lost_runs:
            continue

        def fill(
            axes: Axes, shown: list[Series | None] = shown, lost_runs: list[Lost] = lost_runs
        ) -> None:
            _curves(axes, shown)
            _lost(axes, lost_runs)
            axes.set(xlabel=AXES[axis], ylabel=compared.axis_label, ylim=limits)
            axes.locator_params(axis="x", nbins=6, integer=axis == "rounds")

        ends = [f"{line.level} ends at {line.mean[-1]:.3f}" for line in shown if line]
        about = f"{compared.title} over {AXES[axis]}. {'; '.join(ends)}."
        name = f"curves-{axis}-{number + 1}"
        drawings.append(draw(name, setting, about, fill))
    return drawings


Lost = tuple[int, list[tuple[float, float]]]


def _gone(collection: Collection, setting: str, axis: str) -> list[Lost]:
    """Return the curves of the runs that failed or diverged, as far as there are numbers."""
    lost = []
    for trial in collection.trials:
        if trial.setting == setting and trial.status in ("failed", "diverged"):
            points = list(_points(trial, collection.question.metric, axis).values())
            lost += [(collection.levels.index(trial.level), points)] if points else []
    return lost


def _limits(
    lines: Sequence[Series], gone: Iterable[Sequence[Lost]], info: MetricInfo
) -> tuple[float, float] | None:
    """Return a scale for all panels: the means with a margin, and bands as far as they fit."""
    values = [mean for line in lines for mean in line.mean]
    if info.high is not None:  # a loss that explodes would flatten all others
        values += [value for lost in gone for _, points in lost for _, value in points]
    if not values:
        return None
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.02
    return _within(info, low - margin, high + margin)


def _within(info: MetricInfo, low: float, high: float) -> tuple[float, float]:
    """Return a scale's ends, where the metric can be; the upper one leaves room for a line."""
    lowest = low if info.low is None else max(info.low, low)
    return lowest, high if info.high is None else min(info.high + 0.005, high)


def _curves(axes: Axes, lines: Sequence[Series | None]) -> None:
    for number, line in enumerate(lines):
        if line is None:
            continue
        colour, dash = COLOURS[number % len(COLOURS)], _dash(number)
        if line.low != line.mean:
            axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.11, linewidth=0)
        marker = "o" if len(line.x) == 1 else None
        axes.plot(line.x, line.mean, color=colour, linestyle=dash, marker=marker)


def _dash(number: int) -> Any:
    lengths = dash(number)
    return (0, lengths) if lengths else "-"


def _lost(axes: Axes, lost: Sequence[Lost]) -> None:
    """Draw runs that did not finish, thin, with a cross where they end."""
    for number, points in lost:
        x, y = zip(*points, strict=True)
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(x, y, color=colour, linewidth=0.7, linestyle=(0, (1, 2)))
        axes.plot(x[-1:], y[-1:], color=colour, marker="x", markersize=6)


def cost_drawings(comparison: Comparison) -> list[Drawing]:
    """Return for each setting the primary metric against what was sent, with the best deals."""
    collection = comparison.collection
    drawings = []
    for number, setting in enumerate(collection.settings):
        points = []
        for index, level in enumerate(collection.levels):
            spread = comparison.place(level, setting).interval
            cost = comparison.costs.get((level, setting))
            if spread and cost:
                megabytes = (cost["bytes_up"] + cost["bytes_down"]) / 1e6
                points.append((index, megabytes, spread.mean, spread.half or 0.0))
        if len(points) < 2:
            continue

        def fill(axes: Axes, points: list[Point] = points) -> None:
            _front(axes, points, collection.compared.is_lower_better)
            for index, megabytes, mean, half in points:
                colour = COLOURS[index % len(COLOURS)]
                marker = MARKERS[index % len(MARKERS)]
                axes.errorbar(
                    megabytes, mean, half, color=colour, marker=marker, capsize=2, alpha=0.9
                )
            info = collection.compared.info
            axes.set(xlabel="sent in the whole run, MB", ylabel=info.axis_label)
            axes.set_xlim(0, 1.12 * max(megabytes for _, megabytes, _, _ in points))
            axes.locator_params(axis="x", nbins=6)
            if info.high is not None:
                axes.set_ylim(*_within(info, *axes.get_ylim()))

        ends = [
            f"{collection.levels[i]}: {mean:.3f} for {megabytes:.1f} MB"
            for i, megabytes, mean, _ in points
        ]
        drawings.append(draw(f"cost-{number + 1}", setting, "; ".join(ends), fill))
    return drawings


Point = tuple[int, float, float, float]


def _front(axes: Axes, points: Sequence[Point], lower_is_better: bool) -> None:
    """Join the points that no other beats in both: less sent and a better metric."""
    sign = -1 if lower_is_better else 1
    best = float("-inf")
    front = []
    for _, megabytes, mean, _ in sorted(points, key=lambda point: (point[1], -sign * point[2])):
        if sign * mean > best:
            best = sign * mean
            front.append((megabytes, mean))
    if len(front) > 1:
        x, y = zip(*front, strict=True)
        axes.plot(x, y, color=INK, linewidth=0.8, linestyle=(0, (2, 2)), alpha=0.6)


def rank_drawing(comparison: Comparison) -> Drawing | None:
    """Return the levels on a line by mean rank, with the difference that would tell them apart."""
    ranking, levels = comparison.ranks, comparison.collection.levels
    if ranking is None:
        return None
    order = sorted(range(len(levels)), key=lambda index: ranking.mean[index])

    def fill(axes: Axes) -> None:
        for height, index in enumerate(order):
            colour = COLOURS[index % len(COLOURS)]
            axes.plot([1, ranking.mean[index]], [height, height], color=colour, linewidth=1.2)
            axes.plot([ranking.mean[index]], [height], color=colour, marker="o")
        best = ranking.mean[order[0]]
        axes.axvspan(best, best + ranking.critical, color=INK, alpha=0.08, linewidth=0)
        axes.set_yticks(range(len(order)), [shorten(levels[i], 24) for i in order])
        axes.set(xlabel="mean rank, 1 is best", xlim=(0.9, len(levels) + 0.1))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)

    ends = "; ".join(f"{levels[index]}: {ranking.mean[index]:.2f}" for index in order)
    return draw("ranks", "", f"Mean ranks. {ends}.", fill, left=1.9, height=0.9 + 0.3 * len(levels))
