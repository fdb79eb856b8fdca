"""Two runs side by side: what was asked, with what it was computed, what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from fedsim.analysis.labels import flat
from fedsim.runlog.run_folder import RunFolder

__all__ = ["Difference", "differences", "first_apart"]

_NOT_NUMBERS = ("started", "command", "scenario_sha256")
"""What a manifest says and what differs between any two runs."""


@dataclass(frozen=True)
class Difference:
    """One thing in which two runs differ; None where a run does not say it."""

    about: Literal["configuration", "environment", "metrics"]
    key: str
    first: object
    second: object


def differences(first: RunFolder, second: RunFolder) -> list[Difference]:
    """Return everything in which the runs differ; empty for a run and its repetition.

    Times are not compared: no run takes as long twice.

    Raises:
        RunFolderError: if a run is damaged.
    """
    return [
        *_between("configuration", first.read_scenario(), second.read_scenario()),
        *_between("environment", _manifest(first), _manifest(second)),
        *_metrics(first, second),
    ]


def _manifest(run: RunFolder) -> dict[str, Any]:
    manifest = run.read_json("manifest.json") or {}
    return {name: value for name, value in manifest.items() if name not in _NOT_NUMBERS}


def _between(
    about: Literal["configuration", "environment", "metrics"], first: object, second: object
) -> Iterator[Difference]:
    left, right = dict(flat(first)), dict(flat(second))
    for key in dict.fromkeys([*left, *right]):
        if left.get(key) != right.get(key):
            yield Difference(about, key, left.get(key), right.get(key))


def _metrics(first: RunFolder, second: RunFolder) -> Iterator[Difference]:
    yield from _between("metrics", _result(first), _result(second))
    if (round_ := first_apart(first, second)) is not None:
        at = [_at(run, round_) for run in (first, second)]
        primary = first.metrics()[0].name
        yield Difference("metrics", f"first apart in round {round_}: {primary}", *at)


def _result(run: RunFolder) -> dict[str, Any]:
    result = run.read_json("result.json") or {}
    return {name: value for name, value in result.items() if name not in ("seconds", "strategy")}


def _at(run: RunFolder, round_: int) -> float | None:
    primary = run.metrics()[0].name
    return next((r.metrics.get(primary) for r in run.rounds() if r.round == round_), None)


def first_apart(first: RunFolder, second: RunFolder) -> int | None:
    """Return the first round whose metrics or cohort differ; None where there is none.

    Raises:
        RunFolderError: if a run is damaged.
    """
    for left, right in zip(first.rounds(), second.rounds(), strict=False):
        # As text, for a metric that is not a number is the same as another one.
        same = (str(left.metrics), left.cohort) == (str(right.metrics), right.cohort)
        if not same or str(left.train) != str(right.train):
            return left.round
    return None
