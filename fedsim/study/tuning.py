"""What a study may run next: trials one after the other, and a cell once its values are known.

All of it follows from the ledger, so a study that was killed at any moment goes on as if it had
not been.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

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
            one.name, one.levels, one.space, tune.rounds or rounds[tuple(one.levels.items())]
        )
        for one in study.searches
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
    said = [f"{key}={json.dumps(value)}" for key, value in entry.values.items()]
    if not entry.trial or search is None:
        return said
    # A trial is judged once, on the clients' validation parts.
    rounds = search.rounds
    judged = {"part": "val", "clients": rounds, "every": rounds}
    return [
        *said,
        f"name={entry.name}",
        f"rounds={rounds}",
        *("references=[]", "tracking=[]"),
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
    searched = [one.levels for one in ledger.searches]
    cells = (one for one in ledger.cells if one.values or one.levels not in searched)
    return ledger, [*trials, *cells]


def _is_of(entry: StudyEntry, search: SearchRecord) -> bool:
    return entry.levels == search.levels


def _next_trial(ledger: StudyLedger, search: SearchRecord) -> tuple[StudyLedger, list[StudyEntry]]:
    """Return the first trial that is not over, its values settled; no line where all are."""
    own = [one for one in ledger.trials if _is_of(one, search)]
    number = min((one.trial for one in own if not _is_over(one)), default=0)
    turn = [one for one in own if one.trial == number]
    if turn and not turn[0].values:
        seed = min(one.seed for one in ledger.cells)
        values = propose(search.space, seed, _tried(own, number))
        for one in turn:
            ledger = ledger.changed(one.name, values=values)
    return ledger, [ledger.line(one.name) for one in turn if not _is_over(one)]


def _is_over(entry: StudyEntry) -> bool:
    return entry.status in ("finished", "failed")


def _tried(own: list[StudyEntry], before: int) -> Tried:
    """Return what the trials came to; one that failed for a seed is the worst that there is."""
    found = []
    for number in range(1, before):
        turn = [one for one in own if one.trial == number]
        scores = [one.score or 0.0 for one in turn]
        found.append((turn[0].values, sum(scores) / len(scores)))
    return found


def _given(ledger: StudyLedger, search: SearchRecord) -> StudyLedger:
    """Return the ledger with the best trial's values in its cells; the first of equals."""
    own = [one for one in ledger.trials if _is_of(one, search)]
    cells = [one for one in ledger.cells if _is_of(one, search) and not one.values]
    if not any(one.score is not None for one in own):
        changes: Mapping[str, Any] = {"status": "failed", "why": NONE_FINISHED}
    else:
        tried = _tried(own, max(one.trial for one in own) + 1)
        changes = {"values": max(tried, key=lambda one: one[1])[0]}
    for one in cells:
        ledger = ledger.changed(one.name, **changes)
    return ledger
