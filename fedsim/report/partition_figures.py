"""Figures of partitions: which client holds how much of which label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedsim.analysis.collect import Collection, Trial
from fedsim.report.svg import COLOURS, Drawing, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PartitionFigure", "partition_figures"]

MOST = 150
"""Clients of a figure; more make no other picture."""
_NAMED, _LETTERS = 10, 12
"""Clients that are named, and letters of a name."""
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PartitionFigure:
    """Who holds what in a setting, with its first seed."""

    setting: str
    seed: int
    clients: int
    sizes: tuple[int, int, int]
    """Least, median, most."""
    label_skew: float
    drawing: Drawing


def partition_figures(collection: Collection) -> list[PartitionFigure]:
    """Return for each setting who holds what; settings that are dealt alike are shown once."""
    distinct: dict[str, PartitionFigure] = {}
    for number, setting in enumerate(collection.settings):
        trials = [trial_run for trial_run in collection.trials if trial_run.setting == setting]
        for trial in sorted(trials, key=lambda trial_run: trial_run.seed):
            path = trial.folder.path / "partition.json"
            if path.is_file() and (deal := _deal(path, trial, number)) is not None:
                distinct.setdefault(deal.drawing.svg.partition("<defs>")[2], deal)
                break
    return list(distinct.values())


def _deal(path: Path, trial: Trial, number: int) -> PartitionFigure | None:
    try:
        partition = json.loads(path.read_bytes())
        labels = np.array([client["labels"] for client in partition["clients"]], dtype=np.float64)
        skew = float(partition["label_skew"])
        names = [str(name) for name in partition.get("strata", ())]
        who = [str(client["name"]) for client in partition["clients"] if "name" in client]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the page goes without the picture
    if labels.ndim != 2 or not labels.size:
        return None
    sizes = labels.sum(axis=1)
    order = np.linspace(0, len(labels) - 1, min(len(labels), MOST)).round().astype(int)
    shares = (labels / np.maximum(sizes[:, None], 1))[order]

    def fill(axes: Axes) -> None:
        _map(axes, shares, names)
        if 0 < len(who) <= _NAMED:
            axes.set_xticks(range(len(who)), [name[:_LETTERS] for name in who])

    about = f"{len(labels)} clients of {sizes.min():.0f} to {sizes.max():.0f} examples"
    height = float(np.clip(0.8 + 0.16 * labels.shape[1], 1.6, 4))
    return PartitionFigure(
        trial.setting,
        trial.seed,
        len(labels),
        (int(sizes.min()), int(np.median(sizes)), int(sizes.max())),
        skew,
        draw(f"deal-{number + 1}", trial.setting, about, fill, height=height),
    )


def _map(axes: Axes, shares: Values, names: Sequence[str]) -> None:
    """Draw each client's label shares as a column of ink, in eight shades."""
    shades = 8
    for shade in range(1, shades + 1):
        inside = np.argwhere(np.ceil(shares * shades).astype(int) == shade)
        if len(inside):
            corners = [_square(client, label) for client, label in inside]
            _fill(axes, corners, shade / shades)
    clients, labels = shares.shape
    axes.set(xlabel="client", ylabel="label", xlim=(-0.5, clients - 0.5))
    axes.set_ylim(labels - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=8, integer=True)
    axes.grid(visible=False)
    if labels <= 12:
        axes.set_yticks(range(labels), [name[:_LETTERS] for name in names] or None)


def _square(client: int, label: int) -> list[tuple[float, float]]:
    edge = 0.47
    return [
        (client + right * edge, label + down * edge)
        for right, down in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]


def _fill(axes: Axes, squares: list[list[tuple[float, float]]], alpha: float) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Line

    codes = [Line.MOVETO, Line.LINETO, Line.LINETO, Line.LINETO, Line.CLOSEPOLY]
    vertices = [corner for square in squares for corner in (*square, square[0])]
    outline = Line(vertices, codes * len(squares))
    axes.add_patch(PathPatch(outline, facecolor=COLOURS[0], edgecolor="none", alpha=alpha))
