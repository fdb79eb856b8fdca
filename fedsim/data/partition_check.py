"""What a partition gave to whom, checked: it may be a user's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedsim.data.dataset import Array, Shares
from fedsim.errors import DataError

__all__ = ["checked_shares"]


def checked_shares(owned: Sequence[Array], examples: int) -> Shares:
    """Return what a partition, maybe a user's own, returned, once it is checked.

    Raises:
        DataError: if a client has no example, or an index is of none.
    """
    if not len(owned):
        raise DataError("the partition gave examples to no client")
    shares = owned if isinstance(owned, Shares) else _joined(owned, examples)
    if not shares.sizes.all():
        client = int(shares.sizes.argmin())
        raise DataError(f"client {client} has no examples; use fewer clients or a milder skew")
    wrong = np.flatnonzero((shares.order < 0) | (shares.order >= examples))
    if len(wrong):
        raise _bad_indices(
            int(np.searchsorted(shares.offsets, wrong[0], side="right")) - 1, examples
        )
    return shares


def _joined(owned: Sequence[Array], examples: int) -> Shares:
    sizes = np.fromiter(map(len, owned), np.int64, len(owned))
    kinds = [not len(indices) or indices.dtype.kind in "iu" for indices in owned]
    if not all(kinds):
        raise _bad_indices(kinds.index(False), examples)
    return Shares.of_sizes(np.concatenate(owned), sizes)


def _bad_indices(client: int, examples: int) -> DataError:
    return DataError(f"client {client} was given indices that are not 0 to {examples - 1}")
