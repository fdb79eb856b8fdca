"""From the arrays that files hold to those that a data set wants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsim.data.dataset import Array, Dataset
from fedsim.data.header import laid_out
from fedsim.data.label_kinds import class_count, class_notes, typed_labels
from fedsim.data.table_layout import Planned
from fedsim.errors import DataError

__all__ = ["Loaded", "as_inputs"]


def as_inputs(values: Array) -> Array:
    """Return ``values`` as uint8 or float32, laid out as :func:`fedsim.data.header.laid_out` says.

    Raises:
        DataError: if they are no numbers.
    """
    if values.dtype.kind not in "biuf":
        raise DataError(f"the inputs are {values.dtype}; they must be numbers")
    if 0 in values.shape[1:]:
        raise DataError(f"the inputs have the shape {values.shape}: there is nothing to learn from")
    if values.dtype != np.uint8:
        values = values.astype(np.float32, copy=False)
    shape = laid_out(values.shape)
    if len(shape) > values.ndim:
        return values.reshape(shape)
    if shape != values.shape:
        return np.ascontiguousarray(np.moveaxis(values, 3, 1))
    return values


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a file holds, before its labels and groups are numbered."""

    inputs: Array
    labels: Array
    """Shape ``(n,)`` or ``(n, ...)``: integers, floats, bool, or ``(n,)`` texts."""
    test_inputs: Array | None = None
    test_labels: Array | None = None
    client: Array | None = None
    """Shape ``(n,)``: numbers or texts."""
    domain: Array | None = None
    test_domain: Array | None = None
    class_names: tuple[str, ...] = ()
    client_names: tuple[str, ...] = ()
    domain_names: tuple[str, ...] = ()
    weight: Array | None = None
    """Shape ``(n,)``: how much each example counts."""
    test_weight: Array | None = None
    columns: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    table: tuple[Planned, ...] = ()
    """How each column of a table became numbers."""
    has_gaps: bool = False
    """Whether absent numbers are still NaN, to become means."""

    def dataset(self) -> Dataset:
        """Return all of it, checked, with labels, clients and domains numbered from 0.

        Texts are numbered in ascending order and are their own names.

        Raises:
            DataError: if labels are neither numbers nor texts, or the parts do not fit.
        """
        labels, test_labels, class_names = self.labels, self.test_labels, self.class_names
        if labels.dtype.kind == "U":
            labels, test_labels, class_names = _numbered(labels, test_labels, ())
        labels, test_labels = typed_labels(labels, test_labels)
        client, _, client_names = _groups(self.client, None, self.client_names)
        domain, test_domain, domain_names = _groups(
            self.domain, self.test_domain, self.domain_names
        )
        classes = class_count(labels, test_labels, class_names)
        return Dataset(
            inputs=self.inputs,
            labels=labels,
            test_inputs=self.test_inputs,
            test_labels=test_labels,
            classes=classes,
            class_names=class_names,
            client=client,
            client_names=client_names,
            domain=domain,
            domain_names=domain_names,
            test_domain=test_domain,
            columns=self.columns,
            target_names=self.target_names,
            table=self.table,
            has_gaps=self.has_gaps and (_has_nan(self.inputs) or _has_nan(self.test_inputs)),
            notes=(*self.notes, *class_notes(labels, test_labels, classes, class_names)),
            weight=None if self.weight is None else _floats(self.weight, "weights"),
            test_weight=None if self.test_weight is None else _floats(self.test_weight, "weights"),
        )


def _has_nan(values: Array | None) -> bool:
    return values is not None and values.dtype.kind == "f" and bool(np.isnan(values).any())


def _groups(
    values: Array | None, test_values: Array | None, names: tuple[str, ...]
) -> tuple[Array | None, Array | None, tuple[str, ...]]:
    if values is None:
        return None, None, ()
    if values.dtype.kind == "f" and (absent := int(np.isnan(values).sum())):
        raise DataError(f"the numbers of clients or domains lack {absent} values (NaN)")
    return _numbered(values, test_values, names)


def _floats(values: Array, which: str) -> Array:
    if values.dtype.kind not in "biuf":
        raise DataError(f"the {which} are {values.dtype}; they must be numbers")
    return values.astype(np.float32)


def _numbered(
    values: Array, test_values: Array | None, names: tuple[str, ...]
) -> tuple[Array, Array | None, tuple[str, ...]]:
    """Return values as integers from 0, those of the test split alike, and their names."""
    both = values if test_values is None else np.concatenate([values, test_values])
    if names and both.dtype.kind in "biu":
        both = both.astype(np.int64)
        if both.min() < 0 or both.max() >= len(names):
            raise DataError(f"groups go from {both.min()} to {both.max()}, for {len(names)} names")
    else:
        distinct, both = np.unique(both, return_inverse=True)
        names = tuple(str(name) for name in distinct)
    train, test = np.split(both, [len(values)])
    return train, None if test_values is None else test, names
