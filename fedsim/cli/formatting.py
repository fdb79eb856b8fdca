"""How numbers and rounds are put into words, the same in every command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedsim.runlog.events import RoundRecord
from fedsim.runlog.metric_info import MetricInfo

__all__ = [
    "comparison",
    "dropped",
    "duration",
    "named_values",
    "number",
    "part_name",
    "reference_name",
    "round_line",
    "size",
    "spark",
    "verdict",
]

_BARS = "▁▂▃▄▅▆▇█"
_CLOSE = 0.01
"""Shares nearer than this, and other values nearer by this share of them, are called about equal:
one run tells no more."""


def number(value: float | None) -> str:
    """Return a metric with three digits; a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def size(count: float) -> str:
    """Return a number of bytes in decimal units.

    >>> size(999), size(4_100_000)
    ('999 B', '4.1 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Return a time to read at a glance.

    >>> duration(1.23), duration(75), duration(7260)
    ('1.2 s', '1:15 min', '2:01 h')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{remainder:02} min"
    return f"{minutes // 60}:{minutes % 60:02} h"


def named_values(
    metrics: Mapping[str, float], infos: Sequence[MetricInfo], between: str = " · "
) -> str:
    """Return the primary metric and the loss, or what there is of them, with their titles.

    >>> named_values({"accuracy": 0.5, "loss": 1.25}, CLASSIFICATION)
    'accuracy 0.500 · loss 1.250'
    """
    shown = [info for at, info in enumerate(infos) if at == 0 or info.name == "loss"]
    return between.join(f"{info.title} {number(metrics.get(info.name))}" for info in shown)


def round_line(record: RoundRecord, rounds: int, infos: Sequence[MetricInfo]) -> str:
    """Return one round as one line."""
    width = len(str(rounds))
    return (
        f"round {record.round:>{width}}/{rounds}  {named_values(record.metrics, infos, '  ')}  "
        f"cohort {len(record.cohort)}  "
        f"dropped {len(record.dropped)}  {size(record.bytes_up + record.bytes_down)}  "
        f"{duration(record.seconds)}"
    )


def dropped(record: RoundRecord) -> list[str]:
    """Return one line for each client whose reply is not in the round."""
    return [
        f"round {record.round} client {drop.client} {drop.phase}: {drop.reason}"
        for drop in record.dropped
    ]


def spark(values: Sequence[float], width: int = 60) -> str:
    """Return a curve of at most ``width`` characters.

    >>> spark([0.0, 0.5, 1.0])
    '▁▅█'
    """
    if not values:
        return ""
    samples = [values[position * len(values) // width] for position in range(width)]
    samples = list(values) if len(values) <= width else [*samples[:-1], values[-1]]
    low, high = min(samples), max(samples)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale + 1e-9)] for value in samples)


def reference_name(name: str) -> str:
    """Return a reference's name for people."""
    return {"local": "local only"}.get(name, name)


def part_name(use: str) -> str:
    """Return a plug-in's name without the folders before its file.

    >>> part_name("/home/me/demo/my_idea.py:MyIdea"), part_name("fedavg")
    ('my_idea.py:MyIdea', 'fedavg')
    """
    return use.rpartition("/")[2]


def comparison(federated: float, references: Mapping[str, float]) -> str:
    """Return the primary metric of the run and its references, side by side.

    >>> comparison(0.912, {"centralized": 0.968, "local": 0.731})
    'centralized 0.968 · local only 0.731 · federated 0.912'
    """
    parts = [f"{reference_name(name)} {number(references[name])}" for name in references]
    return " · ".join([*parts, f"federated {number(federated)}"])


def verdict(federated: float, references: Mapping[str, float], info: MetricInfo) -> str:
    """Return in one sentence whether federated learning helps here, by the primary metric.

    >>> verdict(0.912, {"local": 0.731}, CLASSIFICATION[0])
    'Federated learning helps here: 18.1 points above local-only training.'
    """
    local, central = references.get("local"), references.get("centralized")
    if local is None:
        if central is None:
            return ""
        apart = _apart(federated, central, info)
        return f"Federated learning comes out {apart} centralized training."
    lead = "helps here" if info.is_better(federated, local) else "does not help here"
    if _is_close(federated, local, info):
        lead = "makes little difference here"
    near = f"{_apart(federated, local, info)} local-only training"
    far = "" if central is None else f", {_apart(federated, central, info)} centralized"
    return f"Federated learning {lead}: {near}{far}."


def _is_close(value: float, other: float, info: MetricInfo) -> bool:
    return abs(value - other) < (_CLOSE if info.is_share else _CLOSE * abs(other))


def _apart(value: float, other: float, info: MetricInfo) -> str:
    """Return how far ``value`` is from ``other``: in points where the metric is a share."""
    if _is_close(value, other, info):
        return "about equal to"
    way, apart = "above" if value > other else "below", abs(value - other)
    if info.is_share:
        return f"{100 * apart:.1f} points {way}"
    unit = f" {info.unit}" if info.unit else ""
    return f"{info.title} {apart:.3g}{unit} {way}"
