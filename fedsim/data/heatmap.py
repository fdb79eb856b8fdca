"""A picture of the partition: bars of how much each client holds, above a map of its labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.packages import needed_by
from fedsim.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

    from fedsim.data.federated import FederatedData

__all__ = ["draw", "sample"]

_BAR = "#64748b"
_DOMAINS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a900", "#000000")
"""Okabe and Ito's colours, which colour-blind readers tell apart."""
_MOST = 1000
"""Clients, beyond which columns would be thinner than a line."""
_NO_DATE: dict[str, dict[str, None]] = {
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
    ".svg": {"Creator": None, "Date": None},
}
"""What to leave out of a file so that the same data gives the same bytes."""


def draw(data: FederatedData, skew: float, path: Path) -> None:
    """Draw sizes as bars above a map of label shares; the same data gives the same bytes.

    Args:
        data: the partitioned examples.
        skew: the label skew, for the title.
        path: its suffix, .svg, .png or .pdf, says the format.

    Raises:
        DataError: if the suffix is another one.
        MissingPackage: if matplotlib is not installed.
    """
    if path.suffix not in _NO_DATE:
        raise DataError(f"{path} cannot be drawn: name it .svg, .png or .pdf")
    with needed_by("drawing"):
        from matplotlib import rc_context
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

    shown = sample(len(data.clients), _MOST)
    counts = data.counts()
    heights = (1.3, float(np.clip(0.24 * len(data.strata), 1.6, 7)))
    with rc_context({"svg.hashsalt": "fedsim", "font.size": 9}):
        figure = Figure(figsize=(9, sum(heights) + 0.9), dpi=150, layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=heights)
        _bars(above, data, shown)
        mesh = _map(below, counts[shown])
        _ticks(below, shown, data)
        bar = figure.colorbar(
            mesh, ax=[above, below], aspect=40, pad=0.01, format="{x:.0%}",
            ticks=MaxNLocator(5, steps=[1, 2, 5, 10]),
        )  # fmt: skip
        bar.set_label("share of the client's examples")
        bar.outline.set_visible(False)
        part = "" if len(shown) == len(data.clients) else f" ({len(shown):,} shown)"
        total = f"{counts.sum():,} training examples"
        figure.suptitle(f"{len(data.clients):,} clients{part}, {total}, label skew {skew:.2f}")
        figure.savefig(path, metadata=_NO_DATE[path.suffix])


def sample(clients: int, most: int) -> list[int]:
    """Return all clients, or ``most`` of them, evenly chosen, the first and the last included."""
    if clients <= most:
        return list(range(clients))
    return [int(k) for k in np.linspace(0, clients - 1, most).round()]


def _bars(axes: Axes, data: FederatedData, shown: Sequence[int]) -> None:
    """Draw how many examples each client has, in the colour of its domain."""
    infos = [data.clients[k] for k in shown]
    groups = sorted({(info.domain, info.role) for info in infos}, key=lambda g: _place(data, g[0]))
    for domain, role in groups:
        at = [x for x, info in enumerate(infos) if (info.domain, info.role) == (domain, role)]
        colour = _DOMAINS[_place(data, domain) % len(_DOMAINS)] if domain else _BAR
        name = f"{domain or 'mixed'} (target)" if role == "target" else domain or "mixed"
        look: Any = {"color": colour, "label": name, "alpha": 0.45 if role == "target" else 1}
        heights = np.array([infos[x].examples for x in at])
        if len(shown) <= 200:
            axes.bar(at, heights, 0.8, **look)
        else:  # gaps thinner than a line only shimmer, and one outline is drawn much faster
            columns = np.zeros(len(shown))
            columns[at] = heights
            axes.stairs(columns, np.arange(len(shown) + 1) - 0.5, fill=True, **look)
    if 1 < len(groups) <= len(_DOMAINS):
        axes.legend(ncols=len(groups), frameon=False, fontsize=8, loc="lower right",
                    bbox_to_anchor=(1, 0.98), borderaxespad=0)  # fmt: skip
    axes.set_ylabel("examples")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(bottom=False)


def _place(data: FederatedData, domain: str) -> int:
    return data.domain_names.index(domain) if domain else len(data.domain_names)


def _ticks(axes: Axes, shown: Sequence[int], data: FederatedData) -> None:
    """Name the clients below and the labels at the left: all of them, or every so many."""
    most = 20 if len(data.clients) <= 1000 else 10  # Longer numbers need more room.
    columns = range(0, len(shown), math.ceil(len(shown) / most))
    few = data.client_names if len(shown) <= 10 else ()
    axes.set_xticks(columns, [few[shown[x]][:12] if few else f"{shown[x]:,}" for x in columns])
    names = data.strata
    rows = range(0, len(names), math.ceil(len(names) / 26))
    axes.set_yticks(rows, [names[label] for label in rows])


def _map(axes: Axes, counts: Array) -> QuadMesh:
    """Draw each client's label shares, a column per client; with the counts where they fit."""
    clients, classes = counts.shape
    shares = counts / counts.sum(axis=1, keepdims=True)
    few = clients * classes <= 2000
    mesh = axes.pcolormesh(
        np.arange(clients + 1) - 0.5,
        np.arange(classes + 1) - 0.5,
        shares.T,
        cmap="Blues",
        vmin=0,
        edgecolors="white" if few else "none",
        linewidth=0.6 if few else 0,
        rasterized=not few,
    )
    if clients <= 14 and classes <= 20:
        for client, label in np.argwhere(counts > 0):
            dark = shares[client, label] > 0.6 * shares.max()
            axes.text(client, label, f"{counts[client, label]:,}", ha="center", va="center",
                      fontsize=7, color="white" if dark else "black")  # fmt: skip
    axes.set(xlabel="client", ylabel="label")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.invert_yaxis()
    return mesh
