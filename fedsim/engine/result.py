"""What a run comes to: the hash of its weights, and when it reached its targets."""

from __future__ import annotations

import hashlib

from fedsim.runlog.events import (
    RoundRecord,
)
from fedsim.schema.scenario import Scenario
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
    scenario: Scenario, records: list[RoundRecord]
) -> dict[str, dict[str, int | None]]:
    """Return, for each target, the round that reached it and the bytes sent until then."""
    reached: dict[str, dict[str, int | None]] = {}
    for name, target in scenario.evaluation.targets.items():
        reached[name] = {"round": None, "bytes": None}
        traffic = 0
        for record in records:
            traffic += record.bytes_up + record.bytes_down
            value = record.accuracy if name == "accuracy" else record.loss
            if value is None:
                continue
            if value >= target if name == "accuracy" else value <= target:
                reached[name] = {"round": record.round, "bytes": traffic}
                break
    return reached
