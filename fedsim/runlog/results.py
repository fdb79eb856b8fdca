"""The file ``result.json``: a result to plain values and back, as versions 0.1 and 0.2 write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedsim.runlog.events import Result
from fedsim.runlog.files import plain
from fedsim.runlog.rounds import metrics_from, metrics_to

__all__ = ["references_from", "result_from", "result_to"]


def result_to(result: Result) -> dict[str, Any]:
    """Return ``result`` as strict JSON holds it."""
    fields: Any = plain(result)
    fields.pop("metrics")
    if not fields["best"]:  # Only where it was asked for.
        fields.pop("best")
    first = {name: fields.pop(name) for name in ("strategy", "rounds")}
    return {**first, **metrics_to(result.metrics), **fields}


def result_from(fields: Mapping[str, Any]) -> Result:
    """Return the result that was written as ``fields``.

    Raises:
        TypeError, KeyError: if they are no result's.
    """
    values = dict(fields)
    metrics = metrics_from(values)
    references = references_from(values.pop("references"))
    return Result(**values, metrics=metrics, references=references)


def references_from(written: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the references' metrics; in version 0.1 each is a number, its accuracy."""
    return {
        name: dict(value) if isinstance(value, Mapping) else {"accuracy": value}
        for name, value in written.items()
    }
