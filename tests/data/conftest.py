"""Small data sets and deals that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsim.data.dataset import Dataset
from fedsim.data.federated import FederatedData, prepare_recipe
from fedsim.data.partitioning import Recipe
from fedsim.data.partitions.iid import Iid


class Given:
    """A source that gives what it was given."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def load(self, seed: int, folder: Path) -> Dataset:
        return self.dataset


def _toy(examples: int = 60, classes: int = 3, **more: Any) -> Dataset:
    """Return examples whose only feature is their own row, with labels in turn."""
    rows = np.arange(examples)
    inputs = rows.astype(np.float32)[:, None]
    fields: dict[str, Any] = {
        "inputs": inputs,
        "labels": rows % max(classes, 1),
        "test_inputs": None,
        "test_labels": None,
        "classes": classes,
        "domain_names": ("ink", "paint", "chalk") if "domain" in more else (),
        **more,
    }
    return Dataset(**fields)


@pytest.fixture(scope="session")
def toy() -> Callable[..., Dataset]:
    return _toy


@pytest.fixture
def partitioned(tmp_path: Path) -> Callable[..., FederatedData]:
    """Partitioner a data set by a recipe into a store of this test's own."""

    def partition(dataset: Dataset, name: str = "store", **recipe: Any) -> FederatedData:
        parts: dict[str, Any] = {
            "source": Given(dataset),
            "partition": Iid(),
            "clients": 4,
            "seed": 1,
            "folder": tmp_path,
            **recipe,
        }
        return prepare_recipe(Recipe(**parts), tmp_path / name)

    return partition
