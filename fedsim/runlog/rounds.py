"""The lines of ``rounds.jsonl``: a round's record to text and back, and their hash."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from fedsim.runlog.events import Dropped, RoundRecord
from fedsim.runlog.files import plain

__all__ = ["decode", "encode", "metrics_from", "metrics_sha256", "metrics_to"]

_LEARNT = ("round", "accuracy", "loss", "cohort", "train", "clients")
_FIRST = ("accuracy", "loss")
"""Metrics that stand beside the others' mapping, as in version 0.1."""


def encode(record: RoundRecord) -> str:
    """Return ``record`` as one line of strict JSON; a NaN is written as null."""
    return json.dumps(_fields(record), allow_nan=False)


def decode(line: str | bytes) -> RoundRecord:
    """Return the record of one line; floats come back to the last bit.

    Raises:
        ValueError: if the line is torn or is no record.
    """
    try:
        fields: dict[str, Any] = json.loads(line)
        metrics = metrics_from(fields)
        return RoundRecord(
            **fields
            | {
                "metrics": metrics,
                "cohort": tuple(fields["cohort"]),
                "dropped": tuple(Dropped(**drop) for drop in fields["dropped"]),
                "train": _numbers(fields["train"]),
                "clients": _numbers(fields["clients"]),
            }
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a round: {error}") from error


def metrics_to(metrics: Mapping[str, float]) -> dict[str, Any]:
    """Return accuracy and loss by their names, null where absent, and under ``metrics`` all.

    Where there are these two or none there is no ``metrics``: as version 0.1 wrote it.
    """
    first = {name: plain(metrics.get(name)) for name in _FIRST}
    is_first_form = set(metrics) in (set(), set(_FIRST))
    return first if is_first_form else {**first, "metrics": plain(metrics)}


def metrics_from(fields: dict[str, Any]) -> dict[str, float]:
    """Take out of ``fields`` what :func:`metrics_to` put there, and return the metrics."""
    first = {name: fields.pop(name) for name in _FIRST}
    if "metrics" in fields:
        return _numbers(fields.pop("metrics"))
    return {} if all(value is None for value in first.values()) else _numbers(first)


def _fields(record: RoundRecord) -> dict[str, Any]:
    fields: Any = plain(record)
    metrics = fields.pop("metrics")
    return {"round": fields.pop("round"), **metrics_to(metrics), **fields}


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in values.items()}


def metrics_sha256(records: Iterable[RoundRecord]) -> str:
    """Return the hash of what was learned in every round.

    Times and bytes are left out, and so are the reasons of dropped clients, which name
    workers: the hash is equal for one worker and for many.
    """
    digest = hashlib.sha256()
    for record in records:
        fields = _fields(record)
        values = {name: fields[name] for name in (*_LEARNT, "metrics") if name in fields}
        digest.update(json.dumps(values, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
