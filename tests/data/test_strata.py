"""Skew and hold-outs follow what labels are like, whatever kind they are of."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fedsim.data.dataset import Dataset, Partition
from fedsim.data.federated import FederatedData, prepare_recipe
from fedsim.data.partitioning import Recipe
from fedsim.data.partitions.classes import Classes
from fedsim.data.partitions.dirichlet import Dirichlet
from fedsim.data.partitions.iid import Iid
from fedsim.data.partitions.shards import Shards
from fedsim.data.preview import draw, label_skew, text, write_partition
from fedsim.data.sources.diabetes import Diabetes
from fedsim.data.strata import named_strata, strata_of

Toy = Callable[..., Dataset]


def diabetes(folder: Path, partition: Partition, seed: int) -> FederatedData:
    recipe = Recipe(
        Diabetes(), partition, 10, seed, folder, server_test=Fraction(1, 5), task="regression"
    )
    return prepare_recipe(recipe, folder / f"{type(partition).__name__}{seed}")


def test_classes_are_their_own_strata(toy: Toy) -> None:
    dataset = toy(classes=3)
    assert strata_of(dataset) is dataset.labels


def test_amounts_are_cut_into_groups_of_equal_size(toy: Toy) -> None:
    amounts = np.arange(60, dtype=np.float32)[::-1].copy()
    strata, names = named_strata(toy(labels=amounts, classes=0))
    assert np.bincount(strata).tolist() == [6] * 10
    assert names[0] == "0 to 5"
    assert names[-1] == "54 to 59"
    assert len(named_strata(toy(labels=amounts, classes=0), bins=4)[1]) == 4


def test_amounts_that_many_examples_share_are_one_group(toy: Toy) -> None:
    amounts = np.where(np.arange(60) < 30, 0, np.arange(60)).astype(np.float32)
    strata, names = named_strata(toy(labels=amounts, classes=0))
    assert names[0] == "0"
    assert (strata[:30] == 0).all()
    assert len(set(strata.tolist())) == len(names) < 10


def test_marks_have_the_rarest_label_of_each_example(toy: Toy) -> None:
    marks = np.zeros((60, 3), bool)
    marks[:40, 0], marks[30:50, 1], marks[45:48, 2] = True, True, True
    strata, names = named_strata(toy(labels=marks, classes=0))
    assert names == ("0", "1", "2", "none")
    assert np.bincount(strata).tolist() == [30, 17, 3, 10]


def test_several_amounts_share_their_groups(toy: Toy) -> None:
    amounts = np.stack([np.arange(60), 1000 * np.arange(60)], axis=1).astype(np.float32)
    strata, _ = named_strata(toy(labels=amounts, classes=0))
    assert strata.tolist() == sorted(strata.tolist())
    assert strata.max() == 9


def test_sequences_of_tokens_are_one_stratum(toy: Toy) -> None:
    strata, names = named_strata(toy(labels=np.full((60, 8), 5), classes=50))
    assert set(strata.tolist()) == {0}
    assert names == ("all",)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_target_skew_of_diabetes_is_as_its_partition_says(tmp_path: Path, seed: int) -> None:
    skewed = label_skew(diabetes(tmp_path, Dirichlet(alpha=0.1, min_size=1), seed))
    even = label_skew(diabetes(tmp_path, Iid(), seed))
    assert skewed >= 0.6
    assert even <= 0.25


@pytest.mark.parametrize("partition", [Classes(2), Shards(2)])
def test_each_client_has_few_strata_where_a_partition_says_so(
    tmp_path: Path, partition: Partition
) -> None:
    counts = diabetes(tmp_path, partition, 1).counts()
    assert (counts > 0).sum(axis=1).max() <= 4
    assert (counts > 0).sum(axis=1).mean() < 3.5


def test_a_hold_out_has_each_decile_within_one_example(tmp_path: Path) -> None:
    data = diabetes(tmp_path, Iid(), 4)
    strata, _ = named_strata(Diabetes().load(1, tmp_path))
    amounts = Diabetes().load(1, tmp_path).labels
    edges = [amounts[strata == stratum].max() for stratum in range(10)]
    test = np.bincount(np.searchsorted(edges, data.server_test().labels.numpy()), minlength=10)
    expected = np.bincount(strata) / 5
    assert np.abs(test - expected).max() <= 1


def test_a_regression_can_be_looked_at(tmp_path: Path) -> None:
    data = diabetes(tmp_path, Iid(), 5)
    shown = text(data)
    assert "target skew:" in shown
    assert "strata: 10: 25 to " in shown
    write_partition(data, tmp_path)
    draw(data, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 10_000
