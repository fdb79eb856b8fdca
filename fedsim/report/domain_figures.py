"""Figures of the section on domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsim.analysis.collect import Collection
from fedsim.analysis.domain_results import DomainResults, DomainRow, DomainView
from fedsim.analysis.statistics import interval
from fedsim.report.svg import COLOURS, INK, MARKERS, Drawing, dash, draw, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes


__all__ = ["Drawings", "drawings_of"]

MOST = 24
"""Confusions and maps on a page: more would be looked at by nobody."""
SMALL = {"width": 3.2, "height": 2.9}


@dataclass(frozen=True)
class Drawings:
    """The figures, by what they are of."""

    bars: tuple[Drawing, ...]
    curves: tuple[Drawing, ...]
    ratios: tuple[Drawing, ...]
    confusions: tuple[Drawing, ...]
    maps: tuple[Drawing, ...]

    @property
    def all(self) -> list[Drawing]:
        """Every figure."""
        return [drawing for group in fields(self) for drawing in getattr(self, group.name)]


def drawings_of(collection: Collection, domains: DomainResults) -> Drawings:
    """Return the figures of a comparison's domains."""
    return Drawings(
        tuple(_bars(collection, domains.targets, domains.rows)),
        tuple(_curves(collection)),
        tuple(_ratios(collection, domains.views)),
        tuple(_confusions(domains.views))[:MOST],
        tuple(_maps(domains.views))[:MOST],
    )


def _bars(
    collection: Collection, targets: Sequence[str], rows: Sequence[DomainRow]
) -> Iterator[Drawing]:
    title = collection.metrics[0].title
    for number, setting in enumerate(collection.settings):
        complete = [
            domain_row
            for domain_row in rows
            if domain_row.setting == setting and set(targets) <= set(domain_row.accuracy)
        ]
        ranked = [
            (float(np.mean([domain_row.accuracy[t].mean for t in targets])), domain_row)
            for domain_row in complete
        ]
        ranked.sort(key=lambda domain_row: domain_row[0])
        if len(ranked) < 2:
            continue

        def fill(axes: Axes, ranked: Sequence[tuple[float, DomainRow]] = ranked) -> None:
            for height, (mean, row) in enumerate(ranked):
                halves = [row.accuracy[target].half or 0.0 for target in targets]
                colour = COLOURS[collection.levels.index(row.level) % len(COLOURS)]
                whisker = max(halves) if len(targets) == 1 else None
                axes.barh(height, mean, height=0.62, color=colour, alpha=0.85)
                above = min(whisker or 0.0, 1.0 - mean)  # no accuracy is higher
                if whisker:
                    reach = [[min(whisker, mean)], [above]]
                    axes.errorbar(mean, height, xerr=reach, color=INK, capsize=2, linewidth=0.9)
                axes.annotate(f"{mean:.3f}", (mean + above + 0.015, height), va="center")
            axes.set_yticks(range(len(ranked)), [shorten(row.level, 24) for _, row in ranked])
            axes.set(xlabel=f"{title} on {shorten(', '.join(targets), 40)}", xlim=(0, 1.2))
            axes.set_xticks([tick / 5 for tick in range(6)])  # the rest is room for the numbers
            axes.invert_yaxis()
            axes.grid(axis="y", visible=False)

        about = "; ".join(f"{row.level}: {mean:.3f}" for mean, row in ranked)
        size = {"left": 1.6, "height": 0.8 + 0.3 * len(ranked)}
        yield draw(f"targets-{number + 1}", setting, about, fill, **size)


def _curves(collection: Collection) -> Iterator[Drawing]:
    """Yield the accuracy in each domain over rounds, means over seeds, a figure for each level."""
    for number, (setting, level) in enumerate(_grid(collection)):
        trials = [trial for trial in collection.of(level, setting) if trial.status == "finished"]
        names = dict.fromkeys(
            n for trial in trials for record in trial.records for n in record.domains
        )
        lines = {}
        for name in names:
            judged: dict[int, list[float]] = {}
            for record in (record for trial in trials for record in trial.records):
                if name in record.domains:
                    judged.setdefault(record.round, []).append(record.domains[name])
            lines[name] = sorted((at, values) for at, values in judged.items())
        if not lines:
            continue

        def fill(axes: Axes, lines: Any = lines) -> None:
            for index, (name, points) in enumerate(lines.items()):
                x = [at for at, _ in points]
                intervals = [interval(values, collection.question.ci) for _, values in points]
                colour, style = COLOURS[index % len(COLOURS)], dash(index)
                mean = [trial.mean for trial in intervals]
                axes.plot(x, mean, color=colour, linestyle=(0, style) if style else "-", label=name)
                half = [trial.half or 0.0 for trial in intervals]
                low, high = np.subtract(mean, half), np.add(mean, half)
                axes.fill_between(x, low, high, color=colour, alpha=0.11, linewidth=0)
            axes.set(xlabel="round", ylabel=f"test {collection.metrics[0].title}", ylim=(0, 1.005))
            axes.locator_params(axis="x", nbins=6, integer=True)
            axes.legend(frameon=False, fontsize=8, loc="lower right")

        ends = [f"{name} ends at {np.mean(points[-1][1]):.3f}" for name, points in lines.items()]
        title = f"{level}, {setting}" if setting else level
        yield draw(f"domain-curves-{number + 1}", title, "; ".join(ends), fill)


def _grid(collection: Collection) -> list[tuple[str, str]]:
    return [(setting, level) for setting in collection.settings for level in collection.levels]


def _ratios(collection: Collection, views: Sequence[DomainView]) -> Iterator[Drawing]:
    """Yield estimated against true class ratios at the end, and the error over rounds."""
    groups: dict[tuple[str, str], list[DomainView]] = {}
    for view in views:
        for pair in view.ratios:
            groups.setdefault((view.setting, pair), []).append(view)
    for number, ((setting, pair), group) in enumerate(groups.items()):

        def last(axes: Axes, group: Sequence[DomainView] = group, pair: str = pair) -> None:
            true = group[0].true[pair]
            axes.plot(range(len(true)), true, "_", color=INK, markersize=13, markeredgewidth=2)
            for view in group:
                colour, marker = _look(collection, view)
                estimated = view.ratios[pair][max(view.ratios[pair])]
                axes.plot(
                    range(len(estimated)), estimated, marker, color=colour, markersize=5, alpha=0.8
                )
            axes.set(xlabel="class", ylabel="class ratio")
            axes.set_xticks(range(len(true)), [shorten(name, 8) for name in group[0].classes])

        def error(axes: Axes, group: Sequence[DomainView] = group, pair: str = pair) -> None:
            for view in group:
                rounds = sorted(view.ratios[pair])
                errors = [
                    np.nanmean(np.abs(view.ratios[pair][r] - view.true[pair])) for r in rounds
                ]
                axes.plot(rounds, errors, color=_look(collection, view)[0])
            axes.set(xlabel="round", ylabel="mean error of a ratio")
            axes.set_ylim(bottom=0)

        title = f"{pair.replace('>', ' → ')}{', ' + setting if setting else ''}"
        about = f"Estimated and true class ratios of {pair}."
        yield draw(f"ratios-{number + 1}", title, about, last)
        yield draw(f"ratio-errors-{number + 1}", f"{title}: error", about, error)


def _look(collection: Collection, view: DomainView) -> tuple[str, str]:
    index = collection.levels.index(view.level)
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def _confusions(views: Sequence[DomainView]) -> Iterator[Drawing]:
    number = 0
    for view in views:
        for domain, table in view.confusion.items():
            if not table.sum():
                continue
            number += 1
            shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)

            def fill(axes: Axes, shares: Any = shares, view: DomainView = view) -> None:
                _heat(axes, shares)
                if len(view.classes) <= 12:
                    names = [shorten(name, 4) for name in view.classes]
                    axes.set_xticks(range(len(names)), names)
                    axes.set_yticks(range(len(names)), names)

            right = float(np.trace(table) / table.sum())
            title = ", ".join(filter(None, (view.level, view.setting, domain)))
            about = f"{right:.3f} of {int(table.sum())} examples are taken for what they are"
            yield draw(f"confusion-{number}", title, about, fill, **SMALL)


def _heat(axes: Axes, shares: Any) -> None:
    """Draw a square for each share, by area: ink for what is right, red for what is not."""
    for row, column in np.argwhere(shares >= 0.005):
        half = 0.47 * float(np.sqrt(shares[row, column]))
        colour = COLOURS[0] if row == column else COLOURS[1]
        x, y = [column - half, column + half], row - half
        axes.fill_between(x, y, y + 2 * half, color=colour, linewidth=0)
    size = len(shares)
    axes.set(xlabel="taken for", ylabel="true class", xlim=(-0.6, size - 0.4))
    axes.set_ylim(size - 0.4, -0.6)


def _maps(views: Sequence[DomainView]) -> Iterator[Drawing]:
    """Yield the features' plane before training, once for each setting, and after, for each run."""
    drawn: set[str] = set()
    number = 0
    for view in views:
        for when, positions in view.maps.items():
            if when == "before" and view.setting in drawn:
                continue
            drawn.add(view.setting)
            number += 1
            names = list(dict.fromkeys(positions["domain"]))
            at = np.array(positions["at"])

            def fill(
                axes: Axes, names: Any = names, positions: Any = positions, at: Any = at
            ) -> None:
                for index, name in enumerate(names):
                    mask = np.array(positions["domain"]) == name
                    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
                    x, y = at[mask].T
                    axes.scatter(x, y, 9, color=colour, marker=marker, alpha=0.6, label=name)
                axes.set(xticks=(), yticks=(), xlabel="first component", ylabel="second")
                axes.legend(frameon=False, fontsize=8, markerscale=1.5)

            who = "before training" if when == "before" else f"after {view.level}"
            title = f"{who}, {view.setting}" if view.setting else who
            about = f"{len(at)} test examples on the plane of their features' most variance"
            yield draw(f"map-{number}", title, about, fill, **SMALL)
