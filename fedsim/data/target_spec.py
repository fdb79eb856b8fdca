"""What a task has to know of the targets, from the clients' training parts alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedsim.data.dataset import Array
from fedsim.task import TargetSpec

__all__ = ["target_spec"]


def target_spec(labels: Array, offsets: Array, classes: int) -> TargetSpec:
    """Return what is known of ``labels``: no validation or test part is looked at.

    Args:
        labels: `(n, ...)`, in the order of their owners.
        offsets: where each client's parts begin, `(3 * clients + 1,)`.
        classes: how many class numbers there are; 0 where targets are no class numbers.
    """
    spec = TargetSpec(labels.shape[1:], labels.dtype.name, classes)
    part = np.repeat(np.arange(len(offsets) - 1) % 3, np.diff(offsets))
    training = labels[part == 0]
    if classes and labels.ndim == 1:
        counts = np.bincount(training, minlength=classes)
        return replace(spec, counts=tuple(counts.tolist()))
    if labels.dtype.kind != "f":
        return spec
    values = training.astype(np.float64).reshape(len(training), -1)
    centre, spread = values.mean(axis=0), values.std(axis=0)
    return replace(spec, centre=tuple(centre.tolist()), spread=tuple(spread.tolist()))
