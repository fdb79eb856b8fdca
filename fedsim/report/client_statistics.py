"""Who the clients are and how the model does for each: distributions, domains, who holds what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedsim.analysis.collect import Collection, Trial
from fedsim.analysis.statistics import Interval, interval
from fedsim.errors import RunFolderError
from fedsim.report.svg import COLOURS, Drawing, dash, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ClientFigures",
    "PartitionFigure",
    "Spread",
    "client_figures",
    "clients_of",
    "partition_figures",
    "spreads",
]

MOST = 150
"""Clients of a figure; more make no other picture."""
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClientFigures:
    """The last evaluation on the clients' own parts: one value for each client."""

    round: int
    accuracy: Values
    examples: Values
    domain: tuple[str, ...]


@dataclass(frozen=True)
class Spread:
    """How a level serves the clients of a setting; means over seeds."""

    level: str
    setting: str
    weighted: Interval
    """Every test example counts the same."""
    uniform: Interval
    """Every client counts the same."""
    worst: Interval
    """The worst tenth of the clients."""
    deviation: Interval
    """Standard deviation between the clients of a run."""
    domains: Mapping[str, Interval]
    """Every client of a domain counts the same; empty without domains."""


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


def clients_of(trial: Trial) -> ClientFigures | None:
    """Return the last row of each client in ``clients.parquet``; None where there is none.

    Raises:
        RunFolderError: if the file is damaged.
    """
    path = trial.folder.path / "clients.parquet"
    if not path.is_file():
        return None
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["round", "client", "domain", "examples", "accuracy"])
    except (OSError, pa.ArrowException) as error:
        raise RunFolderError(f"{path} cannot be read: {error}") from error
    if not len(table):
        return None
    last = pc.max(table["round"]).as_py()
    is_last = (pc.field("round") == last) & (pc.field("examples") > 0)
    table = table.filter(is_last).sort_by("client")
    return ClientFigures(
        last,
        table["accuracy"].to_numpy(),
        table["examples"].to_numpy().astype(np.float64),
        tuple(table["domain"].to_pylist()),
    )


def spreads(collection: Collection, known: Mapping[str, ClientFigures]) -> list[Spread]:
    """Return how each level serves the clients.

    Args:
        collection: the trials.
        known: the clients by trial; trials without any are left out.
    """
    rows = []
    for setting in collection.settings:
        for level in collection.levels:
            trials = collection.of(level, setting)
            runs = [known[trial.name] for trial in trials if trial.name in known]
            if runs:
                rows.append(_spread(level, setting, runs, collection.question.ci))
    return rows


def _spread(level: str, setting: str, runs: Sequence[ClientFigures], ci: float) -> Spread:
    def over(values: list[float]) -> Interval:
        return interval(values, ci)

    names = sorted({name for run in runs for name in run.domain if name})
    domains = {
        name: over([v for run in runs if (v := _of_domain(run, name)) is not None])
        for name in names
    }
    return Spread(
        level,
        setting,
        over([float(np.average(run.accuracy, weights=run.examples)) for run in runs]),
        over([float(run.accuracy.mean()) for run in runs]),
        over([_worst(run.accuracy) for run in runs]),
        over([float(run.accuracy.std()) for run in runs]),
        domains if len(names) > 1 else {},
    )


def _of_domain(clients: ClientFigures, name: str) -> float | None:
    mask = np.array([domain == name for domain in clients.domain])
    return float(clients.accuracy[mask].mean()) if mask.any() else None


def _worst(accuracy: Values) -> float:
    count = max(1, -(-len(accuracy) // 10))
    return float(np.sort(accuracy)[:count].mean())


def client_figures(collection: Collection, known: Mapping[str, ClientFigures]) -> list[Drawing]:
    """Return for each setting the share of clients below an accuracy, all seeds together."""
    drawings = []
    for number, setting in enumerate(collection.settings):
        curves: list[tuple[int, Values]] = []
        for index, level in enumerate(collection.levels):
            runs = [known[t.name] for t in collection.of(level, setting) if t.name in known]
            if runs:
                curves.append((index, np.sort(np.concatenate([run.accuracy for run in runs]))))
        if not curves:
            continue

        def fill(axes: Axes, curves: list[tuple[int, Values]] = curves) -> None:
            for index, values in curves:
                shares = np.linspace(0, 1, min(len(values) + 1, MOST))
                at = np.quantile(values, shares, method="inverted_cdf")
                look = (0, style) if (style := dash(index)) else "-"
                colour = COLOURS[index % len(COLOURS)]
                axes.step(at, shares, where="post", color=colour, linestyle=look)
            axes.yaxis.set_major_formatter("{x:.0%}")
            axes.set(xlabel="accuracy on the client's own test part", ylabel="clients below it")

        ends = [f"{collection.levels[i]}: median {np.median(v):.3f}" for i, v in curves]
        drawings.append(draw(f"clients-{number + 1}", setting, "; ".join(ends), fill))
    return drawings


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
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the page goes without the picture
    if labels.ndim != 2 or not labels.size:
        return None
    sizes = labels.sum(axis=1)
    order = np.linspace(0, len(labels) - 1, min(len(labels), MOST)).round().astype(int)
    shares = (labels / np.maximum(sizes[:, None], 1))[order]

    def fill(axes: Axes) -> None:
        _map(axes, shares)

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


def _map(axes: Axes, shares: Values) -> None:
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
        axes.set_yticks(range(labels))


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
