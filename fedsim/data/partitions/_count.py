"""How many clients a partition is asked for, checked against the data."""

from __future__ import annotations

from fedsim.data.dataset import Dataset
from fedsim.errors import DataError

__all__ = ["needed_count"]


def needed_count(dataset: Dataset, clients: int | None) -> int:
    """Return ``clients`` where it is a number that ``dataset`` has enough examples for.

    Raises:
        DataError: if it is None, or greater than the number of examples.
    """
    if clients is None:
        raise DataError("clients.count is null, which is for natural partitions; say how many")
    if clients > len(dataset):
        raise DataError(f"{clients} clients cannot share {len(dataset)} training examples")
    return clients
