"""Label skew: each class is split among clients by proportions drawn from a Dirichlet law."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from fedsim.data.dataset import Array, Dataset
from fedsim.data.partitions._count import needed_count
from fedsim.data.strata import strata_of
from fedsim.errors import DataError
from fedsim.seeds import integer

__all__ = ["Dirichlet"]

_TRIES = 20
"""Of flwr-datasets, which draws eleven times in each; NIID-Bench would draw for ever."""


@dataclass(frozen=True)
class Dirichlet:
    """Label skew by ``Dir(alpha)``, the partition most papers compare on.

    Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural Networks", ICML 2019,
    arXiv:1905.12022; the rule of NIID-Bench (Li, Diao, Chen, He, ICDE 2022, arXiv:2102.02079)
    but for a ``>`` that is ``>=`` there.  Drawn by flwr-datasets' ``DirichletPartitioner``.
    """

    alpha: Annotated[float, Gt(0)] = 0.5
    """Concentration: 0.1 gives a client two or three classes, 100 is nearly iid."""
    min_size: Annotated[int, Ge(1)] = 10
    """Drawn again until every client has so many examples."""
    balance: bool = True
    """A client that holds more than the mean already gets nothing of the next classes."""

    def deal(self, dataset: Dataset, clients: int | None, seed: int) -> list[Array]:
        """Return each client's indices; every example occurs once.

        Raises:
            DataError: if ``min_size`` is out of reach.
        """
        from fedsim.data.partitions._flower import flower_partitioners, partition_with

        count = needed_count(dataset, clients)
        if count * self.min_size > len(dataset):
            need = f"{count} clients of at least {self.min_size} examples (min_size)"
            raise DataError(f"{need} need {count * self.min_size}, there are {len(dataset)}")
        for attempt in range(_TRIES):
            partitioner = flower_partitioners().DirichletPartitioner(
                num_partitions=count,
                partition_by="column",
                alpha=self.alpha,
                min_partition_size=self.min_size,
                self_balancing=self.balance,
                seed=integer(seed, "dirichlet", attempt),
            )
            # A tiny alpha gives a class to clients that are full already: 0/0, some left over.
            with suppress(ValueError):  # Eleven draws, and each left a client with too few.
                indices_by_client = partition_with(partitioner, strata_of(dataset), seed)
                if (
                    np.bincount(np.concatenate(indices_by_client), minlength=len(dataset)) == 1
                ).all():
                    return indices_by_client
        raise DataError(
            f"dirichlet with alpha {self.alpha} left one of {count} clients below {self.min_size}"
            " examples each time; use a larger alpha, a smaller min_size or fewer clients"
        )
