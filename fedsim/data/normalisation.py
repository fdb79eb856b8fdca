"""By which constants inputs are normalised: pooled, the clients' sums, each one's own, public."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.dataset_checks import names_in
from fedsim.data.scale import Scaling, columns_of, fitted, flat_is_one, joined_scales, plain
from fedsim.errors import DataError

__all__ = ["Normalize", "PublicConstants", "scale_for"]


@dataclass(frozen=True)
class PublicConstants:
    """What everybody knows of the inputs beforehand; bytes are counted as 0 to 1."""

    mean: tuple[float, ...]
    """One for each channel or column, or one for all."""
    std: tuple[float, ...]


Normalize = bool | Literal["clients", "each"] | PublicConstants
"""Pooled (true), not at all (false), or one of the others; see :func:`scale_for`."""


def scale_for(how: Normalize, inputs: Array, offsets: Array) -> Scaling:
    """Return the scale that inputs are read on; no validation or test part is looked at.

    ============  ================================================================================
    true          mean and deviation of all training parts, pooled: :func:`fedsim.data.scale.fitted`
    ``clients``   the same, from two sums of each client: what a federation can compute
    ``each``      each client's own; the server's test set is read on that of ``clients``
    constants     what the scenario says
    false         bytes become 0 to 1, floats stay as they are
    ============  ================================================================================

    Args:
        how: as the scenario says it.
        inputs: shape ``(n, channels, ...)``, in the order of their owners.
        offsets: shape ``(3 * clients + 1,)``; every third part is a training part.

    Raises:
        DataError: if there are not as many constants as channels or columns.
    """
    if names := names_in(inputs):
        return joined_scales([scale_for(how, inputs[name], offsets) for name in names])
    if inputs.dtype == np.int64 or how is False:  # token ids
        return plain(inputs)
    if how is True:
        return fitted(inputs, offsets)
    if isinstance(how, PublicConstants):
        return _public(how, inputs)
    together = _summed(inputs, offsets)
    return together if how == "clients" else _each(inputs, offsets, together)


def _public(constants: PublicConstants, inputs: Array) -> Scaling:
    width = inputs.shape[1] if inputs.ndim > 1 else 1
    unit = 255 if inputs.dtype == np.uint8 else 1
    scale = []
    for name, values in (("mean", constants.mean), ("std", constants.std)):
        if len(values) not in (1, width):
            raise DataError(
                f"data.normalize.{name} has {len(values)} numbers for {width} channels or columns"
            )
        scale.append(np.broadcast_to(np.array(values, np.float32) * unit, width).astype(np.float32))
    return Scaling(*scale)


def _summed(inputs: Array, offsets: Array) -> Scaling:
    """Return the scale from each client's count and sum, then its squares about the mean.

    Sums over clients are rounded once (``math.fsum``), so their order is of no account.
    """
    parts = _training_columns(inputs, offsets)
    count = sum(map(len, parts))
    mean = _exact([part.sum(axis=0) for part in parts]) / count
    spread = np.sqrt(_exact([np.square(part - mean).sum(axis=0) for part in parts]) / count)
    return flat_is_one(mean, spread, _are_binary(parts, inputs))


def _training_columns(inputs: Array, offsets: Array) -> list[Array]:
    """Return each client's training part, float64 ``(everything else, channels)``."""
    width = inputs.shape[1] if inputs.ndim > 1 else 1
    begins = zip(offsets[:-1:3], offsets[1::3], strict=True)
    return [columns_of(inputs[start:stop], width) for start, stop in begins]


def _are_binary(parts: list[Array], inputs: Array) -> Array:
    """Return whether each column of a table is a one-hot for all clients together."""
    if inputs.ndim != 2:
        return np.zeros(parts[0].shape[1], bool)
    by_client: Array = np.array([((part == 0) | (part == 1)).all(axis=0) for part in parts])
    return np.all(by_client, axis=0)  # type: ignore[no-any-return]


def _exact(sums: list[Array]) -> Array:
    return np.array([math.fsum(column) for column in np.stack(sums, axis=1)])


def _each(inputs: Array, offsets: Array, together: Scaling) -> Scaling:
    """Return a scale with a row for each client, and the last for the server.

    A column that is a one-hot for all clients together stays one for each.
    """
    parts = _training_columns(inputs, offsets)
    is_binary = _are_binary(parts, inputs)
    centres, spreads = [], []
    for part in parts:
        own = flat_is_one(part.mean(axis=0), part.std(axis=0), is_binary)
        centres.append(own.centre)
        spreads.append(own.spread)
    return Scaling(np.stack([*centres, together.centre]), np.stack([*spreads, together.spread]))
