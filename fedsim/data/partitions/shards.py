"""Shards: the examples sorted by label, cut into equal runs, a few runs for every client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from fedsim.data.dataset import Array, Dataset
from fedsim.data.partitions._count import needed_count
from fedsim.data.strata import strata_of
from fedsim.errors import DataError
from fedsim.seeds import integer

__all__ = ["Shards"]


@dataclass(frozen=True)
class Shards:
    """The pathological partition of the FedAvg paper: most clients see ``k`` labels or fewer.

    McMahan, Moore, Ramage, Hampson, Aguera y Arcas, "Communication-Efficient Learning of Deep
    Networks from Decentralized Data", AISTATS 2017, arXiv:1602.05629, section 3.  All shards
    have the same size, so fewer examples than there are shards may be left over; they are not
    used.  Split by flwr-datasets' ``ShardPartitioner``.
    """

    shards_per_client: Annotated[int, Ge(1)] = 2

    def deal(self, dataset: Dataset, clients: int | None, seed: int) -> list[Array]:
        """Return each client's indices, equally many for each; none occurs twice.

        Raises:
            DataError: if there are more shards than examples.
        """
        from fedsim.data.partitions._flower import flower_partitioners, partition_with

        count = needed_count(dataset, clients)
        shards = count * self.shards_per_client
        if shards > len(dataset):
            raise DataError(f"{shards} shards cannot be cut from {len(dataset)} training examples")
        partitioner = flower_partitioners().ShardPartitioner(
            num_partitions=count,
            partition_by="column",
            num_shards_per_partition=self.shards_per_client,
            shard_size=len(dataset) // shards,
            seed=integer(seed, "shards"),
        )
        return partition_with(partitioner, strata_of(dataset), seed)
