"""What size has to do with it: the metric by how much a client holds, and bytes of a round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedsim.analysis.collect import Collection
from fedsim.analysis.compare import Comparison
from fedsim.report.client_statistics import ClientFigures
from fedsim.report.svg import COLOURS, MARKERS, Drawing, draw, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["size_drawings", "traffic_drawings"]

GROUPS = 5
"""Of clients, from small to large: a mean over each is steady enough to be read."""
FEWEST = 3
"""Clients of a group."""


def size_drawings(collection: Collection, figures: Mapping[str, ClientFigures]) -> list[Drawing]:
    """Return for each setting the clients' metric by how many test examples they hold."""
    drawings, title = [], collection.metrics[0].axis_label
    for number, setting in enumerate(collection.settings):
        curves = []
        for index, level in enumerate(collection.levels):
            runs = [figures[t.name] for t in collection.of(level, setting) if t.name in figures]
            sizes = np.concatenate([run.examples for run in runs]) if runs else np.zeros(0)
            groups = min(GROUPS, len(sizes) // FEWEST)
            if groups < 2 or sizes.min() == sizes.max():
                continue
            values = np.concatenate([run.values for run in runs])
            parts = np.array_split(np.argsort(sizes, kind="stable"), groups)
            points = [(float(sizes[at].mean()), float(values[at].mean())) for at in parts]
            curves.append((index, points))
        if not curves:
            continue

        def fill(axes: Axes, curves: list[Curve] = curves) -> None:
            for index, points in curves:
                x, y = zip(*points, strict=True)
                colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
                axes.plot(x, y, color=colour, marker=marker, markersize=4)
            axes.set(xlabel="test examples of a client", ylabel=f"mean {title}")

        ends = [f"{collection.levels[i]}: {p[0][1]:.3f} to {p[-1][1]:.3f}" for i, p in curves]
        about = f"From the smallest to the largest clients. {'; '.join(ends)}."
        drawings.append(draw(f"client-sizes-{number + 1}", setting, about, fill))
    return drawings


Curve = tuple[int, list[tuple[float, float]]]


def traffic_drawings(comparison: Comparison) -> list[Drawing]:
    """Return the bytes of a round, up and down, for each level; settings that are alike once."""
    collection = comparison.collection
    by_rows: dict[Rows, list[str]] = {}
    for setting in collection.settings:
        rows = tuple(
            (level, round(cost["bytes_up"] / rounds), round(cost["bytes_down"] / rounds))
            for level in collection.levels
            if (cost := comparison.costs.get((level, setting)))
            and (rounds := _rounds(collection, level, setting))
        )
        if len(rows) > 1:
            by_rows.setdefault(rows, []).append(setting)
    return [
        _traffic(f"traffic-{number}", ", ".join(settings), rows)
        for number, (rows, settings) in enumerate(by_rows.items(), 1)
    ]


Rows = tuple[tuple[str, int, int], ...]


def _traffic(name: str, title: str, rows: Rows) -> Drawing:
    def fill(axes: Axes) -> None:
        for height, (_, up, down) in enumerate(rows):
            colour = COLOURS[height % len(COLOURS)]
            axes.barh(height - 0.19, up / 1e3, height=0.34, color=colour)
            axes.barh(height + 0.19, down / 1e3, height=0.34, color=colour, alpha=0.45)
        axes.set_yticks(range(len(rows)), [shorten(level, 24) for level, _, _ in rows])
        axes.set(xlabel="kB in a round: up, and below it down")
        axes.locator_params(axis="x", nbins=6)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)

    about = "; ".join(f"{level}: {up} bytes up, {down} down" for level, up, down in rows)
    size = {"left": 1.6, "height": 0.7 + 0.36 * len(rows)}
    return draw(name, title, about, fill, **size)


def _rounds(collection: Collection, level: str, setting: str) -> float:
    counts = [
        len(trial.records) for trial in collection.of(level, setting) if trial.status == "finished"
    ]
    return sum(counts) / len(counts) if counts else 0.0
