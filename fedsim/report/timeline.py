"""Figures of a run's last round: when each client worked, and on which worker, as bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedsim.analysis.collect import Collection, Trial
from fedsim.errors import RunFolderError
from fedsim.report.svg import COLOURS, INK, Drawing, draw
from fedsim.runlog.trace import NAME
from fedsim.wire import TraceEntry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TimelineFigure", "timeline_figures"]


@dataclass(frozen=True)
class TimelineFigure:
    """One run's round on the page."""

    level: str
    setting: str
    seed: int
    round: int
    workers: int
    busy: float
    """The share of the workers' time in which a client worked."""
    phases: tuple[str, ...]
    """In the order of their colours."""
    drawing: Drawing


def timeline_figures(collection: Collection) -> list[TimelineFigure]:
    """Return the last round of each level's first run that has one, in the first setting."""
    figures: list[TimelineFigure] = []
    for level in collection.levels:
        for trial in collection.of(level, collection.settings[0]):
            if (shift := _shift(trial, len(figures))) is not None:
                figures.append(shift)
                break
    return figures


def _shift(trial: Trial, number: int) -> TimelineFigure | None:
    try:
        saved: Any = trial.folder.read_json(NAME)
        turns = [TraceEntry(*row) for row in saved["turns"]] if saved else []
    except (RunFolderError, TypeError, KeyError):
        return None  # the page goes without the picture
    if not turns:
        return None
    workers = len({entry.worker for entry in turns})
    end = max(entry.start + entry.seconds for entry in turns)
    phases = tuple(dict.fromkeys(entry.phase for entry in turns))

    def fill(axes: Axes) -> None:
        for entry in turns:
            colour = COLOURS[phases.index(entry.phase) % len(COLOURS)]
            bar = [(1e3 * entry.start, 1e3 * entry.seconds)]
            axes.broken_barh(bar, (entry.worker - 0.4, 0.8), facecolors=colour, edgecolor=INK)
        axes.set(xlabel="milliseconds since the first turn began", ylabel="worker")
        axes.set_yticks(range(workers))
        axes.grid(axis="y", visible=False)

    busy = sum(entry.seconds for entry in turns) / (workers * end) if end else 1.0
    about = f"{len(turns)} turns on {workers} workers in {end:.3f} seconds"
    size = {"height": 0.9 + 0.28 * min(workers, 16)}
    drawing = draw(f"timeline-{number + 1}", trial.level, about, fill, **size)
    said_of = (trial.level, trial.setting, trial.seed, int(saved["round"]))
    return TimelineFigure(*said_of, workers, busy, phases, drawing)
