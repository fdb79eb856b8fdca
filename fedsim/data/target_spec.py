"""What a task has to know of the targets, from the clients' training parts alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedsim.data.dataset import Array
from fedsim.task import TargetSpec

__all__ = ["target_spec"]


def target_spec(labels: Array, offsets: Array, classes: int, is_target: Array) -> TargetSpec:
    """Return what is known of ``labels``.

    No validation or test part is looked at, and no label of a target client: these never reach
    training.

    Args:
        labels: `(n, ...)`, in the order of their owners.
        offsets: where each client's parts begin, `(3 * clients + 1,)`.
        classes: how many class numbers there are; 0 where targets are no class numbers.
        is_target: which clients are targets, `(clients,)`.
    """
    spec = TargetSpec(labels.shape[1:], labels.dtype.name, classes)
    parts = np.arange(len(offsets) - 1)
    is_open = (parts % 3 == 0) & ~np.asarray(is_target, bool)[parts // 3]
    training = labels[np.repeat(is_open, np.diff(offsets))]
    if not len(training):
        return spec
    if classes:
        numbers = training.reshape(-1)
        counts = np.bincount(numbers[numbers >= 0], minlength=classes)
        return replace(spec, counts=tuple(counts.tolist()))
    if labels.dtype.kind not in "fb":
        return spec
    values = training.astype(np.float64).reshape(len(training), -1)
    centre, spread = values.mean(axis=0), values.std(axis=0)
    return replace(spec, centre=tuple(centre.tolist()), spread=tuple(spread.tolist()))
