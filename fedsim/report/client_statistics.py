"""How the model does for each client: distributions over clients and domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    "Spread",
    "client_figures",
    "clients_of",
    "spreads",
]

MOST = 150
"""Clients of a figure; more make no other picture."""
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClientFigures:
    """The last evaluation on the clients' own parts: one value for each client."""

    round: int
    values: Values
    """Of the primary metric."""
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


def clients_of(trial: Trial, metric: str) -> ClientFigures | None:
    """Return the last value of ``metric`` for each client; None where there is none.

    A client for which it is undefined is left out.

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
        table = pq.read_table(path, columns=["round", "client", "domain", "examples", metric])
    except (OSError, pa.ArrowException) as error:
        raise RunFolderError(f"{path} cannot be read: {error}") from error
    if not len(table):
        return None
    last = pc.max(table["round"]).as_py()
    is_defined = ~pc.is_nan(pc.field(metric))
    is_last = (pc.field("round") == last) & (pc.field("examples") > 0) & is_defined
    table = table.filter(is_last).sort_by("client")
    return ClientFigures(
        last,
        table[metric].to_numpy(),
        table["examples"].to_numpy().astype(np.float64),
        tuple(table["domain"].to_pylist()),
    )


def spreads(collection: Collection, figures: Mapping[str, ClientFigures]) -> list[Spread]:
    """Return how each level serves the clients.

    Args:
        collection: the trials.
        figures: the clients by trial; trials without any are left out.
    """
    rows = []
    for setting in collection.settings:
        for level in collection.levels:
            trials = collection.of(level, setting)
            runs = [figures[trial.name] for trial in trials if trial.name in figures]
            if runs:
                rows.append(_spread(level, setting, runs, collection))
    return rows


def _spread(
    level: str, setting: str, runs: Sequence[ClientFigures], collection: Collection
) -> Spread:
    def over(values: list[float]) -> Interval:
        return interval(values, collection.question.ci)

    better = collection.metrics[0].better

    names = sorted({name for run in runs for name in run.domain if name})
    domains = {
        name: over([v for run in runs if (v := _of_domain(run, name)) is not None])
        for name in names
    }
    return Spread(
        level,
        setting,
        over([float(np.average(run.values, weights=run.examples)) for run in runs]),
        over([float(run.values.mean()) for run in runs]),
        over([_worst(run.values, better) for run in runs]),
        over([float(run.values.std()) for run in runs]),
        domains if len(names) > 1 else {},
    )


def _of_domain(clients: ClientFigures, name: str) -> float | None:
    mask = np.array([domain == name for domain in clients.domain])
    return float(clients.values[mask].mean()) if mask.any() else None


def _worst(values: Values, better: str) -> float:
    count, ascending = max(1, -(-len(values) // 10)), np.sort(values)
    return float((ascending[:count] if better == "higher" else ascending[-count:]).mean())


def client_figures(collection: Collection, figures: Mapping[str, ClientFigures]) -> list[Drawing]:
    """Return for each setting the share of clients below a value, all seeds together."""
    drawings, title = [], collection.metrics[0].axis_label
    for number, setting in enumerate(collection.settings):
        curves: list[tuple[int, Values]] = []
        for index, level in enumerate(collection.levels):
            runs = [figures[t.name] for t in collection.of(level, setting) if t.name in figures]
            if runs:
                curves.append((index, np.sort(np.concatenate([run.values for run in runs]))))
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
            axes.set(xlabel=f"{title} on the client's own test part", ylabel="clients below it")

        ends = [f"{collection.levels[i]}: median {np.median(v):.3f}" for i, v in curves]
        drawings.append(draw(f"clients-{number + 1}", setting, "; ".join(ends), fill))
    return drawings
