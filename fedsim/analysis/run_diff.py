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


def differences(one: RunFolder, other: RunFolder) -> list[Difference]:
    """Return everything in which the runs differ; empty for a run and its repetition.

    Times are not compared: no run takes as long twice.

    Raises:
        RunFolderError: if a run is damaged.
    """
    return [
        *_between("configuration", one.read_scenario(), other.read_scenario()),
        *_between("environment", _manifest(one), _manifest(other)),
        *_metrics(one, other),
    ]


def _manifest(run: RunFolder) -> dict[str, Any]:
    said = run.read_json("manifest.json") or {}
    return {name: value for name, value in said.items() if name not in _NOT_NUMBERS}


def _between(
    about: Literal["configuration", "environment", "metrics"], first: object, second: object
) -> Iterator[Difference]:
    left, right = dict(flat(first)), dict(flat(second))
    for key in dict.fromkeys([*left, *right]):
        if left.get(key) != right.get(key):
            yield Difference(about, key, left.get(key), right.get(key))


def _metrics(one: RunFolder, other: RunFolder) -> Iterator[Difference]:
    yield from _between("metrics", _result(one), _result(other))
    if (round_ := first_apart(one, other)) is not None:
        at = [_at(run, round_) for run in (one, other)]
        yield Difference("metrics", f"first apart in round {round_}: accuracy", *at)


def _result(run: RunFolder) -> dict[str, Any]:
    said = run.read_json("result.json") or {}
    return {name: value for name, value in said.items() if name not in ("seconds", "strategy")}


def _at(run: RunFolder, round_: int) -> float | None:
    return next((one.accuracy for one in run.rounds() if one.round == round_), None)


def first_apart(one: RunFolder, other: RunFolder) -> int | None:
    """Return the first round whose metrics or cohort differ; None where there is none.

    Raises:
        RunFolderError: if a run is damaged.
    """
    for left, right in zip(one.rounds(), other.rounds(), strict=False):
        same = (left.accuracy, left.loss, left.cohort) == (right.accuracy, right.loss, right.cohort)
        if not same or str(left.train) != str(right.train):
            return left.round
    return None
