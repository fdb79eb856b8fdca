"""Labels as a task takes them, and why they are not for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fedsim.data.dataset import Array, Dataset
from fedsim.errors import DataError

__all__ = ["MOST_CLASSES", "as_targets", "class_count", "class_notes", "typed_labels"]

MOST_CLASSES = 1 << 16
"""Integers that go further are amounts, or identities: as class numbers they would ask for a model
with as many outputs."""


def as_targets(dataset: Dataset, task: str) -> Dataset:
    """Return the data set with labels as ``task`` takes them.

    A regression takes class numbers, and other integers, as amounts: float32.  A task that is
    not known here takes the labels as they are.

    Raises:
        DataError: if a classification is to learn what are no class numbers.
    """
    if task == "classification" and (reason := _no_classes(dataset.labels, dataset.classes)):
        raise DataError(reason)
    if task != "regression" or dataset.labels.dtype == np.float32:
        return dataset
    test = dataset.test_labels
    return replace(
        dataset,
        labels=dataset.labels.astype(np.float32),
        test_labels=None if test is None else test.astype(np.float32),
        classes=0,
        class_names=(),
    )


def typed_labels(labels: Array, test_labels: Array | None) -> tuple[Array, Array | None]:
    """Return the labels of both splits as int64, float32 or, for marks of several labels, bool.

    Integers ``(n, k)`` that are 0 and 1 alone are such marks: whether an example has each of
    ``k`` labels.

    Raises:
        DataError: if they are no numbers.
    """
    parts = [part for part in (labels, test_labels) if part is not None]
    for part in parts:
        if part.dtype.kind not in "biuf":
            must = "they must be integers from 0, texts, or floats for a regression"
            raise DataError(f"the labels are {part.dtype}; {must}")
    kind: type = np.int64
    if any(part.dtype.kind == "f" for part in parts):
        kind = np.float32
    elif labels.ndim == 2 and all(part.dtype == bool or _are_marks(part) for part in parts):
        kind = np.bool_
    typed: list[Array] = [part.astype(kind) for part in parts]
    return typed[0], None if test_labels is None else typed[1]


def _are_marks(labels: Array) -> bool:
    return bool(len(labels)) and bool(((labels == 0) | (labels == 1)).all())


def class_count(labels: Array, test_labels: Array | None, names: Sequence[str]) -> int:
    """Return how many classes typed labels have: as many as have names, or as they go up to.

    It is 0 where they are no class numbers: floats, marks, and integers that go below 0 or to
    :data:`MOST_CLASSES`.
    """
    if labels.dtype != np.int64:
        return len(names)
    present = [part for part in (labels, test_labels) if part is not None and part.size]
    most = max([0, *(int(part.max()) + 1 for part in present)])
    if most > max(MOST_CLASSES, len(names)) or any(int(part.min()) < 0 for part in present):
        return 0
    return max(most, len(names))


def class_notes(
    labels: Array, test_labels: Array | None, classes: int, names: Sequence[str]
) -> list[str]:
    """Return what a user should know of class numbers: those that no training example has.

    Args:
        labels: typed, `(n, ...)`.
        test_labels: of the test split.
        classes: how many there are; 0 where labels are no class numbers.
        names: of the classes.
    """
    if not classes:
        return []
    present = np.unique(labels)
    notes = []
    if test_labels is not None and len(alone := np.setdiff1d(test_labels, present)):
        which = ", ".join(names[number] if names else str(number) for number in alone[:5])
        notes.append(f"no training example is of class {which}, which the test split has")
    every = present if test_labels is None else np.union1d(present, test_labels)
    if len(every) < classes and labels.ndim == 1 and not names:
        notes.append(
            f"of the classes 0 to {classes - 1} only {len(every)} have examples, and a model "
            f"gets an output for each: number them from 0 to {len(every) - 1}"
        )
    return notes


def _no_classes(labels: Array, classes: int) -> str:
    if labels.ndim > 1:
        shape = f"the labels of an example have the shape {labels.shape[1:]}"
        return f"{shape}; a classification takes one class number"
    if classes:
        return ""
    if labels.dtype.kind == "i":
        span = f"the labels go from {labels.min()} to {labels.max()}"
        return f"{span}; class numbers are integers from 0 to {MOST_CLASSES - 1}, or texts"
    return (
        f"the labels are {labels.dtype}; class numbers are integers from 0, or texts: "
        "number them, or say task: regression"
    )
