"""Pathological label skew: every client has examples of a fixed number of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from fedsim.data.dataset import Array, Dataset
from fedsim.data.partitions._count import needed_count
from fedsim.data.strata import strata_of
from fedsim.errors import DataError
from fedsim.seeds import integer

__all__ = ["Classes"]


@dataclass(frozen=True)
class Classes:
    """``#C = k`` of NIID-Bench: a client has ``k`` classes, and a class is split evenly.

    Li, Diao, Chen, He, "Federated Learning on Non-IID Data Silos", ICDE 2022, arXiv:2102.02079.
    The first class of client ``i`` is ``i`` modulo the number of classes, the others are drawn:
    with at least as many clients as classes, every example is used.  Split by flwr-datasets'
    ``PathologicalPartitioner``.
    """

    classes_per_client: Annotated[int, Ge(1)] = 2

    def deal(self, dataset: Dataset, clients: int | None, seed: int) -> list[Array]:
        """Return each client's indices; no example occurs twice.

        Raises:
            DataError: if there are fewer classes, or too few examples of one.
        """
        from fedsim.data.partitions._flower import flower_partitioners, partition_with

        count = needed_count(dataset, clients)
        classes = len(np.unique(strata_of(dataset)))
        if self.classes_per_client > classes:
            raise DataError(
                f"classes_per_client is {self.classes_per_client}, but there are {classes} classes"
            )
        partitioner = flower_partitioners().PathologicalPartitioner(
            num_partitions=count,
            partition_by="column",
            num_classes_per_partition=self.classes_per_client,
            class_assignment_mode="first-deterministic",
            seed=integer(seed, "classes"),
        )
        try:
            return partition_with(partitioner, strata_of(dataset), seed)
        except ValueError as error:
            raise DataError(
                f"{count} clients with {self.classes_per_client} classes each are more than the"
                " examples of one class; use fewer clients"
            ) from error
