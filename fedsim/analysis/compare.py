"""The numbers of a comparison: everything that the page, the tables and the JSON file show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fedsim.analysis.collect import Collection, Trial
from fedsim.analysis.question import metric_of
from fedsim.analysis.significance import SignificanceTest, adjusted
from fedsim.analysis.statistics import (
    Interval,
    Ranks,
    interval,
    paired,
    ranks,
)
from fedsim.analysis.targets import Reached, reached
from fedsim.runlog.events import Result

__all__ = ["FEWEST", "Best", "Comparison", "Standing", "compare"]

FEWEST = 3
"""Pairs below which nothing is set in bold: two say too little of their own spread."""


@dataclass(frozen=True)
class Standing:
    """One place of the main table: a level in a setting."""

    level: str
    setting: str
    values: Mapping[int, float]
    """By seed, of the runs that finished."""
    interval: Interval | None
    states: Mapping[str, int]
    """How many runs finished, diverged, failed or are missing."""
    reasons: tuple[str, ...]
    """Of those that did not finish."""
    is_best: bool = False
    is_apart: bool = False
    """Best, and every paired difference to the others excludes zero: set in bold."""

    @property
    def lost(self) -> int:
        """How many runs did not finish."""
        return sum(count for state, count in self.states.items() if state != "finished")


@dataclass(frozen=True)
class Best:
    """The best round of each run: optimistic, for the round is chosen by the test set."""

    level: str
    setting: str
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """The whole comparison in numbers."""

    collection: Collection
    baseline: str
    places: tuple[Standing, ...]
    references: Mapping[str, Mapping[str, Interval]]
    """By setting, then by reference."""
    tests: tuple[SignificanceTest, ...]
    ranks: Ranks | None
    reached: tuple[Reached, ...]
    best: tuple[Best, ...]
    costs: Mapping[tuple[str, str], Mapping[str, float]]
    """By level and setting: mean bytes up and down, dropped replies, seconds."""

    def place(self, level: str, setting: str) -> Standing:
        """Return one place of the main table."""
        return next(
            standing
            for standing in self.places
            if (standing.level, standing.setting) == (level, setting)
        )


def compare(collection: Collection) -> Comparison:
    """Return the numbers of ``collection``."""
    grid = [(level, setting) for setting in collection.settings for level in collection.levels]
    places = tuple(_place(collection, *cell) for cell in grid)
    for setting in collection.settings:
        places = _ranked(places, setting, collection)
    baseline = collection.question.baseline
    if baseline not in collection.levels:
        baseline = collection.levels[0]
    finished = {cell: _finished(collection, *cell) for cell in grid}
    return Comparison(
        collection,
        baseline,
        places,
        {setting: _references(collection, setting) for setting in collection.settings},
        _tests(places, baseline, collection),
        _ranks(places, collection),
        tuple(target for cell in grid for target in reached(collection, *cell)),
        tuple(best for cell in grid if (best := _best(collection, *cell))),
        {cell: _costs(trials) for cell, trials in finished.items() if trials},
    )


def _finished(collection: Collection, level: str, setting: str) -> list[Trial]:
    return [trial for trial in collection.of(level, setting) if trial.status == "finished"]


def _place(collection: Collection, level: str, setting: str) -> Standing:
    trials = collection.of(level, setting)
    question = collection.question
    values = {trial.seed: v for trial in trials if (v := trial.value(question)) is not None}
    names = [trial.status for trial in trials]
    states = {state: names.count(state) for state in dict.fromkeys(names)}
    reasons = tuple(
        f"seed {trial.seed}: {trial.status}, {trial.why}" for trial in trials if trial.why
    )
    spread = interval(list(values.values()), question.ci) if values else None
    return Standing(level, setting, values, spread, states, reasons)


def _ranked(
    places: tuple[Standing, ...], setting: str, collection: Collection
) -> tuple[Standing, ...]:
    """Mark the best place of a setting, and whether it is apart from every other.

    Only levels without a lost run can be best: a mean over the runs that survived is another
    quantity.  They still have to be beaten, over the seeds that they finished.
    """
    sign = -1 if collection.compared.is_lower_better else 1
    rivals = [standing for standing in places if standing.setting == setting and standing.interval]
    complete = [standing for standing in rivals if not standing.lost]
    if not complete or len(rivals) < 2:
        return places
    best = max(
        complete, key=lambda standing: sign * standing.interval.mean if standing.interval else 0.0
    )
    others = [standing for standing in rivals if standing is not best]
    is_apart = all(_is_apart(best, other, sign, collection.question.ci) for other in others)
    marked = replace(best, is_best=True, is_apart=is_apart)
    return tuple(marked if standing is best else standing for standing in places)


def _is_apart(best: Standing, other: Standing, sign: int, level: float) -> bool:
    differences = [sign * difference for difference in _differences(best, other)]
    if len(differences) < FEWEST:
        return False
    spread = interval(differences, level)
    return spread.mean > 0 and spread.excludes_zero()


def _differences(standing: Standing, other: Standing) -> list[float]:
    """Return the paired differences over the seeds that both have."""
    return [
        value - other.values[seed]
        for seed, value in standing.values.items()
        if seed in other.values
    ]


def _tests(
    places: Sequence[Standing], baseline: str, collection: Collection
) -> tuple[SignificanceTest, ...]:
    question = collection.question
    by = {(standing.level, standing.setting): standing for standing in places}
    single, blocked = [], []
    for level in collection.levels:
        if level == baseline:
            continue
        everywhere: list[float] = []
        for setting in collection.settings:
            pairs = _differences(by[level, setting], by[baseline, setting])
            everywhere += pairs
            if pairs:
                comparison = paired(pairs, question.ci, question.test)
                single.append(SignificanceTest(level, setting, False, comparison, comparison.p))
        if len(collection.settings) > 1 and everywhere:
            comparison = paired(everywhere, question.ci, question.test)
            blocked.append(SignificanceTest(level, "", True, comparison, comparison.p))
    return (*adjusted(single, question.correction), *adjusted(blocked, question.correction))


def _ranks(places: Sequence[Standing], collection: Collection) -> Ranks | None:
    by = {(standing.level, standing.setting): standing.interval for standing in places}
    rows = []
    for setting in collection.settings:
        row = [by[level, setting] for level in collection.levels]
        if all(row):
            rows.append([standing.mean for standing in row if standing])
    if len(rows) < 3:
        return None
    sign = -1.0 if collection.compared.is_lower_better else 1.0
    return ranks([[sign * mean for mean in row] for row in rows], collection.question.ci)


def _references(collection: Collection, setting: str) -> dict[str, Interval]:
    """Return the references' primary metric, one for each seed: all levels share the model."""
    primary = collection.metrics[0].name
    values: dict[str, dict[int, float]] = {}
    for trial in collection.trials:
        if trial.setting == setting and trial.result is not None:
            for name, metrics in _compared_with(trial.result):
                if primary in metrics:
                    values.setdefault(name, {}).setdefault(trial.seed, metrics[primary])
    level = collection.question.ci
    return {name: interval(list(by_seed.values()), level) for name, by_seed in values.items()}


def _compared_with(result: Result) -> list[tuple[str, Mapping[str, float]]]:
    """Return the references, and the baseline, by name."""
    return [*result.references.items(), ("baseline", result.baseline)]


def _best(collection: Collection, level: str, setting: str) -> Best | None:
    question = collection.question
    choose = min if collection.compared.is_lower_better else max
    values = []
    for trial in _finished(collection, level, setting):
        taken = [metric_of(record, question.metric) for record in trial.records]
        if measured := [value for value in taken if value is not None]:
            values.append(choose(measured))
    return Best(level, setting, interval(values, question.ci)) if values else None


def _costs(trials: Sequence[Trial]) -> dict[str, float]:
    def mean(field: str) -> float:
        totals = [
            float(sum(getattr(record, field) for record in trial.records)) for trial in trials
        ]
        return sum(totals) / len(totals)

    dropped = [sum(len(record.dropped) for record in trial.records) for trial in trials]
    return {
        "bytes_up": mean("bytes_up"),
        "bytes_down": mean("bytes_down"),
        "seconds": mean("seconds"),
        "dropped": sum(dropped) / len(dropped),
    }
