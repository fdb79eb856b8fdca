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
    found: list[TimelineFigure] = []
    for level in collection.levels:
        for trial in collection.of(level, collection.settings[0]):
            if (shift := _shift(trial, len(found))) is not None:
                found.append(shift)
                break
    return found


def _shift(trial: Trial, number: int) -> TimelineFigure | None:
    try:
        said: Any = trial.folder.read_json(NAME)
        turns = [TraceEntry(*row) for row in said["turns"]] if said else []
    except (RunFolderError, TypeError, KeyError):
        return None  # the page goes without the picture
    if not turns:
        return None
    workers = len({one.worker for one in turns})
    end = max(one.start + one.seconds for one in turns)
    phases = tuple(dict.fromkeys(one.phase for one in turns))

    def fill(axes: Axes) -> None:
        for one in turns:
            colour = COLOURS[phases.index(one.phase) % len(COLOURS)]
            bar = [(1e3 * one.start, 1e3 * one.seconds)]
            axes.broken_barh(bar, (one.worker - 0.4, 0.8), facecolors=colour, edgecolor=INK)
        axes.set(xlabel="milliseconds since the first turn began", ylabel="worker")
        axes.set_yticks(range(workers))
        axes.grid(axis="y", visible=False)

    busy = sum(one.seconds for one in turns) / (workers * end) if end else 1.0
    about = f"{len(turns)} turns on {workers} workers in {end:.3f} seconds"
    size = {"height": 0.9 + 0.28 * min(workers, 16)}
    drawing = draw(f"timeline-{number + 1}", trial.level, about, fill, **size)
    said_of = (trial.level, trial.setting, trial.seed, int(said["round"]))
    return TimelineFigure(*said_of, workers, busy, phases, drawing)
