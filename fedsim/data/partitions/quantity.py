"""Quantity skew: clients hold unlike numbers of examples of one and the same law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt

from fedsim.data.dataset import Array, Dataset
from fedsim.data.partitions._count import needed_count
from fedsim.data.strata import strata_of
from fedsim.errors import DataError
from fedsim.seeds import numpy_stream

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner

__all__ = ["Quantity"]

_TRIES = 1000


@dataclass(frozen=True)
class Quantity:
    """Sizes by a law, examples at random.

    ``dirichlet`` draws the shares from ``Dir(alpha)``, as NIID-Bench does (Li, Diao, Chen, He,
    ICDE 2022, arXiv:2102.02079); under ``linear`` client ``k`` holds a share in proportion to
    ``k + 1``, under ``exponential`` to ``exp(k + 1)``, which no more than about a dozen clients
    can share.  Split by the partitioners of flwr-datasets.
    """

    law: Literal["dirichlet", "linear", "exponential"] = "dirichlet"
    alpha: Annotated[float, Gt(0)] = 0.5
    """With ``law: dirichlet``: 0.1 gives a few clients nearly all, 100 is nearly even."""
    min_size: Annotated[int, Ge(1)] = 10
    """With ``law: dirichlet``: the fewest examples of a client; sizes are drawn until all have so
    many."""

    def deal(self, dataset: Dataset, clients: int | None, seed: int) -> list[Array]:
        """Return each client's indices; every example occurs once.

        Raises:
            DataError: if a client would be left without examples, or below ``min_size``.
        """
        from fedsim.data.partitions._flower import partition_with

        count = needed_count(dataset, clients)
        try:
            return partition_with(
                self._partitioner(count, len(dataset), seed), strata_of(dataset), seed
            )
        except ValueError as error:
            raise DataError(
                f"client 0 has no examples: {self.law} sizes for {count} clients need more than"
                f" {len(dataset)} examples; use fewer clients"
            ) from error

    def _partitioner(self, count: int, examples: int, seed: int) -> Partitioner:
        from fedsim.data.partitions._flower import flower_partitioners

        partitioners = flower_partitioners()
        partitioner: Partitioner
        if self.law == "linear":
            partitioner = partitioners.LinearPartitioner(count)
        elif self.law == "exponential":
            partitioner = partitioners.ExponentialPartitioner(count)
        else:
            partitioner = partitioners.SizePartitioner(self._sizes(count, examples, seed))
        return partitioner

    def _sizes(self, count: int, examples: int, seed: int) -> list[int]:
        generator = numpy_stream(seed, "quantity")
        for _ in range(_TRIES):
            ends = (np.cumsum(generator.dirichlet(np.full(count, self.alpha))) * examples).astype(
                int
            )
            ends[-1] = examples
            sizes: list[int] = np.diff(ends, prepend=0).tolist()
            if min(sizes) >= self.min_size:
                return sizes
        raise DataError(
            f"quantity with alpha {self.alpha} left one of {count} clients below {self.min_size}"
            " examples each time; use a larger alpha, a smaller min_size or fewer clients"
        )
