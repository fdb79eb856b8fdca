"""What a study may run next: trials one after the other, and a cell once its values are known.

All of it follows from the ledger, so a study that was killed at any moment goes on as if it had
not been.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from fedsim.runlog.study_ledger import SearchRecord, StudyEntry, StudyLedger
from fedsim.scenario.study_schema import Study
from fedsim.study.search import Tried, propose

__all__ = ["advanced", "overrides", "searches_of", "trials_of"]

NONE_FINISHED = "no trial of its search finished"


def searches_of(study: Study) -> tuple[SearchRecord, ...]:
    """Return the searches of a study, for its ledger."""
    tune = study.head.tune
    if tune is None:
        return ()
    rounds = {tuple(cell.levels.items()): cell.scenario.rounds for cell in study.cells}
    return tuple(
        SearchRecord(
            search.name,
            search.levels,
            search.space,
            tune.rounds or rounds[tuple(search.levels.items())],
        )
        for search in study.searches
    )


def trials_of(study: Study) -> Iterator[StudyEntry]:
    """Yield the lines of all trials, in the order in which they are made."""
    tune = study.head.tune
    if tune is None:
        return
    for search in study.searches:
        for number in range(1, tune.trials + 1):
            for seed in study.head.seeds[: tune.seeds]:
                name = f"{search.name}-t{number:03}-s{seed}"
                yield StudyEntry(name, search.levels, seed, "", trial=number)


def overrides(entry: StudyEntry, search: SearchRecord | None) -> list[str]:
    """Return what tells the run of ``entry`` apart from the study's scenario for its cell."""
    changes = [f"{key}={json.dumps(value)}" for key, value in entry.values.items()]
    if not entry.trial or search is None:
        return changes
    # A trial is judged once, on the clients' validation parts.
    rounds = search.rounds
    judged = {"part": "val", "clients": rounds, "every": rounds}
    return [
        *changes,
        f"name={entry.name}",
        f"rounds={rounds}",
        "references=[]",
        "tracking=[]",
        *(f"evaluation.{key}={value}" for key, value in judged.items()),
    ]


def advanced(ledger: StudyLedger) -> tuple[StudyLedger, list[StudyEntry]]:
    """Return the ledger with the values of whatever may run now, and the lines of that.

    Lines of cells that are over are among them: whoever asks knows which to run once more.
    """
    trials: list[StudyEntry] = []
    for search in ledger.searches:
        ledger, turn = _next_trial(ledger, search)
        trials += turn
        if not turn:
            ledger = _given(ledger, search)
    searched = [entry.levels for entry in ledger.searches]
    cells = (entry for entry in ledger.cells if entry.values or entry.levels not in searched)
    return ledger, [*trials, *cells]


def _is_of(entry: StudyEntry, search: SearchRecord) -> bool:
    return entry.levels == search.levels


def _next_trial(ledger: StudyLedger, search: SearchRecord) -> tuple[StudyLedger, list[StudyEntry]]:
    """Return the first trial that is not over, its values settled; no line where all are."""
    entries = [entry for entry in ledger.trials if _is_of(entry, search)]
    number = min((entry.trial for entry in entries if not _is_over(entry)), default=0)
    repeats = [entry for entry in entries if entry.trial == number]
    if repeats and not repeats[0].values:
        seed = min(entry.seed for entry in ledger.cells)
        values = propose(search.space, seed, _tried(entries, number, ledger.score_better))
        for entry in repeats:
            ledger = ledger.changed(entry.name, values=values)
    return ledger, [ledger.line(entry.name) for entry in repeats if not _is_over(entry)]


def _is_over(entry: StudyEntry) -> bool:
    return entry.status in ("finished", "failed")


def _tried(entries: list[StudyEntry], before: int, better: str) -> Tried:
    """Return what the trials came to, higher is better.

    One that failed for a seed, or whose score is not a number, has the worst score: 0 where higher
    is better, for no metric of that kind that trials are scored by is below it, else the worst
    that there was.
    """
    sign = 1.0 if better == "higher" else -1.0
    measured = [sign * entry.score for entry in entries if _is_number(entry.score)]
    worst = 0.0 if better == "higher" else min(measured, default=0.0)
    scored = []
    for number in range(1, before):
        repeats = [entry for entry in entries if entry.trial == number]
        scores = [sign * entry.score if _is_number(entry.score) else worst for entry in repeats]
        scored.append((repeats[0].values, sum(scores) / len(scores)))
    return scored


def _is_number(score: float | None) -> TypeGuard[float]:
    return score is not None and math.isfinite(score)


def _given(ledger: StudyLedger, search: SearchRecord) -> StudyLedger:
    """Return the ledger with the best trial's values in its cells; the first of equals."""
    entries = [entry for entry in ledger.trials if _is_of(entry, search)]
    cells = [entry for entry in ledger.cells if _is_of(entry, search) and not entry.values]
    if not any(_is_number(entry.score) for entry in entries):
        changes: Mapping[str, Any] = {"status": "failed", "why": NONE_FINISHED}
    else:
        scored = _tried(entries, max(entry.trial for entry in entries) + 1, ledger.score_better)
        changes = {"values": max(scored, key=lambda entry: entry[1])[0]}
    for entry in cells:
        ledger = ledger.changed(entry.name, **changes)
    return ledger
