"""How a study's parameters were chosen: every trial, and which of them was taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedsim.report.ledger import Ledger
from fedsim.report.svg import COLOURS, INK, MARKERS, Drawing, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Tried", "Tuned", "tuned", "tuning_drawings"]


@dataclass(frozen=True)
class Tried:
    """One trial: its values, and its score where it finished for every seed."""

    values: Mapping[str, Any]
    score: float | None


@dataclass(frozen=True)
class Tuned:
    """What was looked for and found for one level in one setting."""

    level: str
    setting: str
    rounds: int
    seeds: int
    tried: tuple[Tried, ...]
    """In order; only what is over."""
    values: Mapping[str, Any]
    """What was taken; empty while the search goes on, and where no trial finished."""
    log: frozenset[str] = frozenset()
    """The keys that were tried on a logarithmic scale."""

    @property
    def score(self) -> float | None:
        """The score of what was taken."""
        return next((one.score for one in self.tried if one.values == self.values), None)

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(one.score is None for one in self.tried)


def tuned(ledger: Ledger) -> Iterator[Tuned]:
    """Yield what became of each of a study's searches."""
    axis, *others = ledger.axes
    for search in ledger.searches:
        own = [one for one in ledger.trials if one.levels == search.levels]
        tried = []
        for number in dict.fromkeys(one.trial for one in own):
            turn = [one for one in own if one.trial == number]
            if all(one.status in ("finished", "failed") for one in turn):
                scores = [one.score for one in turn if one.score is not None]
                whole = sum(scores) / len(scores) if len(scores) == len(turn) else None
                tried.append(Tried(turn[0].values, whole))
        yield Tuned(
            search.levels[axis],
            " · ".join(search.levels[other] for other in others),
            search.rounds,
            len({one.seed for one in own}),
            tuple(tried),
            next((one.values for one in ledger.cells if one.levels == search.levels), {}),
            frozenset(key for key, span in search.space.items() if "log" in span),
        )


def tuning_drawings(found: Sequence[Tuned], levels: Sequence[str]) -> list[Drawing]:
    """Return the scores against each key, a figure for each setting."""
    drawings = []
    keys = dict.fromkeys(key for one in found for tried in one.tried for key in tried.values)
    for number, setting in enumerate(dict.fromkeys(one.setting for one in found)):
        for key in keys:
            own = [one for one in found if one.setting == setting and _points(one, key)]
            if not own:
                continue

            def fill(axes: Axes, own: Sequence[Tuned] = own, key: str = key) -> None:
                for one in own:
                    _scatter(axes, one, key, levels.index(one.level))
                if any(key in one.log for one in own):
                    _logarithmic(axes)
                axes.set(xlabel=key, ylabel="validation accuracy")

            ends = [f"{one.level}: {one.values.get(key, 'nothing')} taken" for one in own]
            name = f"tuning-{number + 1}-{key.replace('.', '-')}"
            drawings.append(draw(name, setting, f"{key}. {'; '.join(ends)}.", fill))
    return drawings


def _points(one: Tuned, key: str) -> list[tuple[Any, float]]:
    """Return what was tried of ``key`` with its scores; what failed has none."""
    known = [(t.values[key], t.score) for t in one.tried if key in t.values]
    return [(_placed(x), score) for x, score in known if score is not None]


def _placed(value: Any) -> Any:
    """Return where a value stands on an axis: true and false are words, not 1 and 0."""
    return str(value) if isinstance(value, bool) else value


def _logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=9))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _scatter(axes: Axes, one: Tuned, key: str, index: int) -> None:
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    x, y = zip(*_points(one, key), strict=True)
    axes.scatter(x, y, s=16, color=colour, marker=marker, alpha=0.7)
    if one.score is not None:
        taken = _placed(one.values[key])
        axes.scatter(taken, one.score, s=90, facecolors="none", edgecolors=INK, linewidths=1)
