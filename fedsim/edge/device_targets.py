"""A device's own targets and weights, in the form that the scenario's have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.dataset_checks import check_weight
from fedsim.errors import DataError

__all__ = ["device_targets", "device_weights"]


def device_targets(labels: Array, terms: Mapping[str, Any], path: Path) -> Array:
    """Return a device's targets as the scenario's are: class numbers, amounts, marks or tokens.

    Args:
        labels: as the device's file has them; texts are numbered by the scenario's class names.
        terms: what the server told of the scenario's data.
        path: of the file, for messages.

    Raises:
        DataError: if they are of another shape or kind, no numbers, or beyond the classes.
    """
    if labels.dtype.kind == "U":
        return _by_name(labels, terms["class_names"], path)
    spec, classes = terms["targets"], terms["classes"]
    if labels.shape[1:] != tuple(spec["shape"]):
        wanted = tuple(spec["shape"]) or "a number"
        raise DataError(f"{path}: a target is {labels.shape[1:] or 'a number'}, not {wanted}")
    if classes:
        if labels.dtype.kind not in "biu" or labels.min() < 0 or labels.max() >= classes:
            raise DataError(f"{path}: the labels must be integers from 0 to {classes - 1}")
        return labels.astype(np.int64)
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise DataError(f"{path}: a target is NaN or infinite")
    is_float = str(spec["dtype"]).startswith("float")
    if labels.dtype.kind == "f" and not is_float:
        raise DataError(f"{path}: the targets are {labels.dtype}, and the scenario's whole numbers")
    return labels.astype(spec["dtype"])


def device_weights(weights: Array | None, rows: int, path: Path) -> Array | None:
    """Return how much each of the device's examples counts, `(rows,)`, or None.

    Raises:
        DataError: if a weight is none.
    """
    if weights is None:
        return None
    if weights.dtype.kind not in "biuf":
        raise DataError(f"{path}: the weights are no numbers")
    checked = weights.astype(np.float32)
    check_weight(checked, rows, "")
    return checked


def _by_name(labels: Array, class_names: list[str], path: Path) -> Array:
    names = {name: number for number, name in enumerate(class_names)}
    if unknown := sorted(set(labels.ravel().tolist()) - names.keys()):
        classes = ", ".join(names) or "numbers"
        raise DataError(f"{path}: the label {unknown[0]!r} is not one of {classes}")
    return np.array([names[label] for label in labels.tolist()], np.int64)
