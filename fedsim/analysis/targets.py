"""When runs reached their targets: rounds, bytes and seconds, those that never did included."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedsim.analysis.collect import Collection, Trial
from fedsim.analysis.question import metric_of

__all__ = ["Reached", "reached"]


@dataclass(frozen=True)
class Reached:
    """When a target was reached."""

    target: str
    level: str
    setting: str
    rounds: tuple[int | None, ...]
    """By seed; None where it was not reached: what is known is that it would take longer."""
    bytes: tuple[int | None, ...]
    seconds: tuple[float | None, ...]

    @property
    def times(self) -> int:
        """How many runs reached it."""
        return sum(number is not None for number in self.rounds)

    def median(self, what: str) -> float | None:
        """Return the median, or None where fewer than half of the runs got there."""
        values: Sequence[float | None] = getattr(self, what)
        ordered = sorted(value if value is not None else float("inf") for value in values)
        middle = statistics.median_high(ordered)
        return middle if middle < float("inf") else None


def reached(collection: Collection, level: str, setting: str) -> list[Reached]:
    """Return when each target of a level in a setting was reached."""
    trials = [trial for trial in collection.of(level, setting) if trial.records]
    metrics = dict.fromkeys(name for trial in trials for name in _targets(trial))
    results = []
    for metric in metrics:
        target = next(targets[metric] for trial in trials if metric in (targets := _targets(trial)))
        better = _better(metric, trials)
        sign = "at most" if better == "lower" else "at least"
        steps = [_first(trial, metric, target, better) for trial in trials]
        rounds, sent, seconds = zip(*steps, strict=True)
        results.append(
            Reached(f"{metric} {sign} {target:g}", level, setting, rounds, sent, seconds)
        )
    return results


def _targets(trial: Trial) -> Mapping[str, float]:
    return (trial.scenario.get("evaluation") or {}).get("targets") or {}


def _better(metric: str, trials: Sequence[Trial]) -> str:
    infos = {info.name: info.better for trial in trials for info in trial.folder.metrics()}
    return infos.get(metric, "higher")


def _first(
    trial: Trial, metric: str, target: float, better: str
) -> tuple[int | None, int | None, float | None]:
    bytes_moved, seconds = 0, 0.0
    for record in trial.records:
        bytes_moved += record.bytes_up + record.bytes_down
        seconds += record.seconds
        value = metric_of(record, metric)
        if value is not None and (value <= target if better == "lower" else value >= target):
            return record.round, bytes_moved, seconds
    return None, None, None
