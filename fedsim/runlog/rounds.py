"""The lines of ``rounds.jsonl``: a round's record to text and back, and their hash."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from fedsim.runlog.events import Dropped, RoundRecord
from fedsim.runlog.files import plain

__all__ = ["decode", "encode", "metrics_sha256"]

_METRICS = ("round", "accuracy", "loss", "cohort", "train", "clients")


def encode(record: RoundRecord) -> str:
    """Return ``record`` as one line of strict JSON; a NaN is written as null."""
    return json.dumps(plain(record), allow_nan=False)


def decode(line: str | bytes) -> RoundRecord:
    """Return the record of one line; floats come back to the last bit.

    Raises:
        ValueError: if the line is torn or is no record.
    """
    try:
        fields: dict[str, Any] = json.loads(line)
        record = RoundRecord(**fields)
        return RoundRecord(
            **fields
            | {
                "cohort": tuple(record.cohort),
                "dropped": tuple(Dropped(**drop) for drop in fields["dropped"]),
                "train": _metrics(record.train),
                "clients": _metrics(record.clients),
            }
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a round: {error}") from error


def _metrics(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in values.items()}


def metrics_sha256(records: Iterable[RoundRecord]) -> str:
    """Return the hash of what was learned in every round.

    Times and bytes are left out, and so are the reasons of dropped clients, which name
    workers: the hash is equal for one worker and for many.
    """
    digest = hashlib.sha256()
    for record in records:
        values = {name: plain(getattr(record, name)) for name in _METRICS}
        digest.update(json.dumps(values, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
