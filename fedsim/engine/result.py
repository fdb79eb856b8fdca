"""The result of a run: the hash of its weights, and when it reached its targets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from fedsim.runlog.events import RoundRecord
from fedsim.tasks._measures import Measures
from fedsim.wire import Weights

__all__ = ["targets_reached", "weights_sha256"]


def weights_sha256(weights: Weights) -> str:
    """Return the hash of every tensor's name, dtype, shape and bytes, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def targets_reached(
    targets: Mapping[str, float], records: Sequence[RoundRecord], measures: Measures
) -> dict[str, dict[str, int | None]]:
    """Return, for each target, the round that reached it and the bytes sent until then."""
    better = {metric.name: metric.better for metric in measures.metrics}
    reached: dict[str, dict[str, int | None]] = {}
    for name, target in targets.items():
        reached[name] = {"round": None, "bytes": None}
        traffic = 0
        for record in records:
            traffic += record.bytes_up + record.bytes_down
            value = record.metrics.get(name)
            if value is None:
                continue
            if value >= target if better[name] == "higher" else value <= target:
                reached[name] = {"round": record.round, "bytes": traffic}
                break
    return reached
