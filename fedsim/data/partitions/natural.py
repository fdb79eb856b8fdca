"""Natural clients: every example stays with the person, site or device that made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from fedsim.data.dataset import Array, Dataset, Shares
from fedsim.errors import DataError
from fedsim.seeds import numpy_stream

__all__ = ["Natural"]


@dataclass(frozen=True)
class Natural:
    """One client for each value of the data set's client column, in ascending order.

    It splits as flwr-datasets' ``NaturalIdPartitioner`` does (a test holds them equal) without
    its half millisecond per client: natural data may well have a million of them.
    """

    min_examples: Annotated[int, Ge(1)] = 1
    """Clients with fewer are left out."""
    max_examples: Annotated[int, Ge(1)] | None = None
    """Clients with more are left out."""
    most_clients: Annotated[int, Ge(1)] | None = None
    """How many clients are taken of those that are left; null: all."""
    choose: Literal["first", "random"] = "first"
    """Which of them, with ``most_clients``: the first in their order, or any by the seed."""

    def deal(self, dataset: Dataset, clients: int | None, seed: int) -> Shares:
        """Return each client's indices, ascending; ``seed`` matters with ``choose: random`` alone.

        Raises:
            DataError: if there is no client column, or ``clients`` is another number than is
                taken of the data, or fewer are there than ``most_clients`` asks for.
        """
        if dataset.client is None:
            raise DataError("the natural partition needs a client column, and the data has none")
        order = np.argsort(dataset.client, kind="stable")
        starts = np.flatnonzero(np.diff(dataset.client[order].astype(np.int64), prepend=-1))
        sizes = np.diff(starts, append=len(order))
        is_taken = self._taken(sizes, seed)
        if clients is not None and clients != is_taken.sum():
            raise DataError(
                f"clients.count is {clients}, but the data has {is_taken.sum()} natural clients;"
                f" say {is_taken.sum()} or null"
            )
        return Shares.of_sizes(order[np.repeat(is_taken, sizes)], sizes[is_taken])

    def _taken(self, sizes: Array, seed: int) -> Array:
        """Return whether each natural client is taken, ``(clients,)``, by how much it holds."""
        fits = sizes >= self.min_examples
        if not fits.any():
            raise DataError(f"no natural client has min_examples = {self.min_examples} examples")
        if self.max_examples is not None:
            fits &= sizes <= self.max_examples
            if not fits.any():
                span = f"{self.min_examples} to {self.max_examples}"
                raise DataError(f"no natural client has {span} examples")
        if self.most_clients is None:
            return fits
        candidates = np.flatnonzero(fits)
        if self.most_clients > len(candidates):
            raise DataError(
                f"most_clients is {self.most_clients}, but {len(candidates)} natural clients fit"
            )
        if self.choose == "random":
            candidates = numpy_stream(seed, "natural").permutation(candidates)
        taken: Array = np.isin(np.arange(len(sizes)), candidates[: self.most_clients])
        return taken
