"""Natural clients: every example stays with the person, site or device that made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from fedsim.data.dataset import Dataset, Shares
from fedsim.errors import DataError

__all__ = ["Natural"]


@dataclass(frozen=True)
class Natural:
    """One client for each value of the data set's client column, in ascending order.

    It splits as flwr-datasets' ``NaturalIdPartitioner`` does (a test holds them equal) without
    its half millisecond per client: natural data may well have a million of them.
    """

    min_examples: Annotated[int, Ge(1)] = 1
    """Clients with fewer are left out."""

    def deal(self, dataset: Dataset, clients: int | None, seed: int) -> Shares:
        """Return each client's indices, ascending; ``seed`` is of no account.

        Raises:
            DataError: if there is no client column, or ``clients`` is another number than the
                data has.
        """
        if dataset.client is None:
            raise DataError("the natural partition needs a client column, and the data has none")
        order = np.argsort(dataset.client, kind="stable")
        starts = np.flatnonzero(np.diff(dataset.client[order].astype(np.int64), prepend=-1))
        sizes = np.diff(starts, append=len(order))
        is_kept = sizes >= self.min_examples
        if not is_kept.any():
            raise DataError(f"no natural client has min_examples = {self.min_examples} examples")
        if clients is not None and clients != is_kept.sum():
            raise DataError(
                f"clients.count is {clients}, but the data has {is_kept.sum()} natural clients;"
                f" say {is_kept.sum()} or null"
            )
        return Shares.of_sizes(order[np.repeat(is_kept, sizes)], sizes[is_kept])
