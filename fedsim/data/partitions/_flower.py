"""Splitting by the partitioners of flwr-datasets, without output and without a network."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.packages import needed_by
from fedsim.seeds import numpy_stream

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner

__all__ = ["flower_partitioners", "partition_with"]


def flower_partitioners() -> ModuleType:
    """Return ``flwr_datasets.partitioner``.

    Raises:
        MissingPackage: if flwr-datasets is not installed.
    """
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    with needed_by("splitting examples among clients"), _quiet():
        partitioners = import_module("flwr_datasets.partitioner")
    return partitioners


def partition_with(partitioner: Partitioner, column: Array, seed: int) -> list[Array]:
    """Return the indices that ``partitioner`` gives to each client.

    The examples are shuffled first: the partitioners cut each class, or the whole, in the order
    they find, and files are often sorted by writer, by day or by domain.

    Args:
        partitioner: made with ``partition_by="column"`` where it takes that.
        column: shape ``(n,)``, what it splits by: the labels, most often.
        seed: the scenario's root seed.

    Raises:
        ValueError: if the partitioner cannot split the examples so.
    """
    from datasets import Dataset

    order = numpy_stream(seed, "deal").permutation(len(column))
    with _quiet():
        partitioner.dataset = Dataset.from_dict({"index": order, "column": column[order]})
        clients = range(partitioner.num_partitions)
        return [np.asarray(partitioner.load_partition(k)[:]["index"], np.int64) for k in clients]


@contextmanager
def _quiet() -> Iterator[None]:
    with (
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
