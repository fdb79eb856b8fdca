"""From run folders to trials that can be compared: who, in which setting, with which seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fedsim.analysis.labels import label
from fedsim.analysis.metric_names import ComparedMetric, compared_metric
from fedsim.analysis.question import ComparisonQuestion, metric_of, question_of
from fedsim.analysis.tuning_results import Tuned, tuned
from fedsim.errors import RunFolderError
from fedsim.runlog import runs
from fedsim.runlog.events import Result, RoundRecord
from fedsim.runlog.metric_info import CLASSIFICATION, MetricInfo
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.study_ledger import LEDGER, StudyLedger

__all__ = ["Collection", "Trial", "collect"]

SCHEMA = "fedsim/1"
_NOT_FINITE = "not finite"
"""What is said of clients' replies that are refused because the model has diverged."""


@dataclass(frozen=True)
class Trial:
    """One run, as the comparison sees it."""

    name: str
    level: str
    setting: str
    seed: int
    status: str
    """finished, diverged, failed, missing."""
    why: str
    folder: RunFolder
    scenario: Mapping[str, Any]
    records: tuple[RoundRecord, ...] = ()
    result: Result | None = None

    def value(self, question: ComparisonQuestion) -> float | None:
        """Return the one number that the question is about; None where there is none."""
        if self.status != "finished":
            return None
        number = question.round or self.records[-1].round if self.records else 0
        at = next((record for record in reversed(self.records) if record.round == number), None)
        return metric_of(at, question.metric) if at else None


@dataclass(frozen=True)
class Collection:
    """All trials of a comparison."""

    title: str
    description: str
    axis: str
    """What the levels are: ``strategy``."""
    levels: tuple[str, ...]
    settings: tuple[str, ...]
    """One empty name where nothing else was varied."""
    seeds: tuple[int, ...]
    question: ComparisonQuestion
    trials: tuple[Trial, ...]
    left_out: tuple[tuple[str, str], ...] = field(default=())
    """Folders that are not in it, each with the reason."""
    tuned: tuple[Tuned, ...] = ()
    """How parameters were chosen, where a study looked for them."""
    metrics: tuple[MetricInfo, ...] = CLASSIFICATION
    """What the runs measure, the primary metric first."""

    @property
    def compared(self) -> ComparedMetric:
        """The metric that the question is about."""
        return compared_metric(self.question.metric, self.metrics)

    def of(self, level: str, setting: str) -> list[Trial]:
        """Return the trials of one cell of the table, by seed."""
        trials = [
            candidate
            for candidate in self.trials
            if (candidate.level, candidate.setting) == (level, setting)
        ]
        return sorted(trials, key=lambda trial: trial.seed)


def _measured(trials: Sequence[Trial]) -> tuple[MetricInfo, ...]:
    """Return what all the runs measure.

    Raises:
        RunFolderError: if two of them have not the same primary metric: they cannot share a table.
    """
    measured = {trial.name: trial.folder.metrics() for trial in trials if trial.records}
    kinds = {infos[0].name: name for name, infos in measured.items()}
    if len(kinds) > 1:
        apart = ", ".join(f"{name} of {run}" for name, run in kinds.items())
        raise RunFolderError(f"these runs have other tasks and no common metric: {apart}")
    return next(iter(measured.values()), CLASSIFICATION)


def collect(paths: Sequence[Path], **options: Any) -> Collection:
    """Return the trials in ``paths``: one study, or runs and folders of runs.

    Args:
        paths: what is compared.
        **options: fields of :class:`ComparisonQuestion` that go before what the study says.

    Raises:
        RunFolderError: if there is no run that could be compared.
    """
    if len(paths) == 1 and (paths[0] / LEDGER).is_file():
        return _study(paths[0], options)
    return _loose(paths, options)


def _study(folder: Path, options: Mapping[str, Any]) -> Collection:
    ledger = StudyLedger.read(folder)
    report = {key: value for key, value in ledger.report.items() if value is not None}
    report["x"] = tuple(report.get("x", ComparisonQuestion.x))
    axis, *others = ledger.axes
    trials, left_out = [], []
    for entry in ledger.cells:
        run = RunFolder(folder / "cells" / entry.name)
        setting = " · ".join(entry.levels[other] for other in others)
        trial, why = _trial(run, (entry.levels[axis], setting, entry.seed))
        if entry.status == "failed":
            status = "diverged" if _NOT_FINITE in entry.why else "failed"
            trial, why = _as(trial, status, entry.why), ""
        if why:
            left_out.append((entry.name, why))
        trials.append(trial)
    return Collection(
        ledger.name,
        ledger.description,
        axis,
        tuple(ledger.axes[axis]),
        tuple(dict.fromkeys(trial.setting for trial in trials)),
        tuple(sorted({trial.seed for trial in trials})),
        question_of(report | dict(options), metrics := _measured(trials)),
        tuple(trials),
        tuple(left_out),
        tuple(tuned(ledger)),
        metrics,
    )


def _loose(paths: Sequence[Path], options: Mapping[str, Any]) -> Collection:
    folders = [run for path in paths for run in _runs(path)]
    read = [(run, run.read_scenario()) for run in dict.fromkeys(folders)]
    scenarios = [(run, scenario) for run, scenario in read if scenario.get("schema") == SCHEMA]
    left_out = [
        (run.path.name, f"its scenario is {scenario.get('schema') or 'damaged'}, not {SCHEMA}")
        for run, scenario in read
        if scenario.get("schema") != SCHEMA
    ]
    trials: dict[tuple[str, str, int], Trial] = {}
    named = label([scenario for _, scenario in scenarios])
    for (run, scenario), (level, setting) in zip(scenarios, named, strict=True):
        key = (level, setting, int(scenario.get("seed", 0)))
        trial, why = _trial(run, key)
        if why:
            left_out.append((run.path.name, why))
            continue
        if key in trials:
            older = trials[key].folder.path.name
            left_out.append((older, f"{run.path.name} is the same scenario, run later"))
        trials[key] = trial
    if not trials:
        reasons = "".join(f"\n{name}: {why}" for name, why in left_out)
        raise RunFolderError(f"there is no finished run to compare{reasons}")
    return Collection(
        ", ".join(dict.fromkeys(str(scenario.get("name", "")) for _, scenario in scenarios)),
        "",
        "strategy",
        tuple(dict.fromkeys(level for level, _, _ in trials)),
        tuple(dict.fromkeys(setting for _, setting, _ in trials)),
        tuple(sorted({seed for _, _, seed in trials})),
        question_of(options, metrics := _measured(list(trials.values()))),
        tuple(trials.values()),
        tuple(left_out),
        metrics=metrics,
    )


def _runs(path: Path) -> list[RunFolder]:
    if (path / LEDGER).is_file():
        return [RunFolder(path / "cells" / cell.name) for cell in StudyLedger.read(path).cells]
    below = [] if (path / runs.SCENARIO).is_file() else runs.runs_in(path)
    return [RunFolder(run) for run in below] or [RunFolder.open(path)]


def _trial(run: RunFolder, key: tuple[str, str, int]) -> tuple[Trial, str]:
    """Return the trial, and why it cannot be compared; empty where it can."""
    level, setting, seed = key
    scenario = run.read_scenario()
    trial = Trial(run.path.name, level, setting, seed, "missing", "", run, scenario)
    if not run.scenario.is_file():
        return _as(trial, "missing", "not run yet"), ""
    status = run.status()
    try:
        records, result = tuple(run.rounds()), run.result()
    except RunFolderError as error:
        return _as(trial, "missing", "damaged"), f"is damaged: {_last_words(error, run)}"
    if status == "running" or result is None:
        done = f"{len(records)} of {scenario.get('rounds', '?')} rounds"
        state = "is still running" if status == "running" else "was interrupted"
        cut = replace(trial, records=records, why=f"{state}, {done}")
        return cut, f"{state} ({done})"
    finished = replace(trial, status="finished", why=result.stopped, records=records, result=result)
    metrics = run.metrics()
    if any(not _is_finite(value) for value in _decisive(result.metrics, metrics)):
        lost = (r.round for r in records if not all(map(_is_finite, _decisive(r.metrics, metrics))))
        first = next(lost, len(records))
        return _as(finished, "diverged", f"the loss is not finite from round {first}"), ""
    return finished, ""


def _decisive(values: Mapping[str, float], metrics: Sequence[MetricInfo]) -> list[float]:
    """Return the primary metric and the loss, where they were measured: both must be finite."""
    return [values[name] for name in {metrics[0].name, "loss"} if name in values]


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _last_words(error: Exception, run: RunFolder) -> str:
    return str(error).replace(f"{run.path}/", "")


def _as(trial: Trial, status: str, why: str) -> Trial:
    return replace(trial, status=status, why=why)
