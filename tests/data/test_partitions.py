"""Each partition gives clients what it says, and says why where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.data.dataset import Array, Dataset, Partition, Shares
from fedsim.data.partitions._flower import flower_partitioners, partition_with
from fedsim.data.partitions.classes import Classes
from fedsim.data.partitions.dirichlet import Dirichlet
from fedsim.data.partitions.domains import Domains
from fedsim.data.partitions.iid import Iid
from fedsim.data.partitions.natural import Natural
from fedsim.data.partitions.quantity import Quantity
from fedsim.data.partitions.shards import Shards
from fedsim.errors import DataError

Toy = Callable[..., Dataset]

COMPLETE: list[Partition] = [
    Iid(),
    Dirichlet(alpha=1.0, min_size=1),
    Dirichlet(alpha=1.0, min_size=1, balance=False),
    Classes(classes_per_client=2),
    Quantity(law="linear"),
    Quantity(min_size=1),
]
"""These use every example exactly once."""
SEEDED = [*COMPLETE, Shards()]


def sizes(owned: Sequence[Array]) -> list[int]:
    return [len(indices) for indices in owned]


@pytest.mark.parametrize("partition", COMPLETE, ids=repr)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), clients=st.integers(3, 6), examples=st.integers(60, 150))
def test_every_example_is_used_exactly_once(
    partition: Partition, toy: Toy, seed: int, clients: int, examples: int
) -> None:
    owned = partition.deal(toy(examples), clients, seed)
    assert len(owned) == clients
    assert sorted(np.concatenate(owned)) == list(range(examples))


@pytest.mark.parametrize("partition", SEEDED, ids=repr)
def test_the_same_seed_splits_the_same_and_another_seed_another(
    partition: Partition, toy: Toy
) -> None:
    first, again, third = (partition.deal(toy(), 4, seed) for seed in (7, 7, 8))
    assert [list(indices) for indices in first] == [list(indices) for indices in again]
    assert [list(indices) for indices in first] != [list(indices) for indices in third]


@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_shares_equal_the_list_of_arrays(sizes: list[int]) -> None:
    order = np.arange(sum(sizes))[::-1]
    shares = Shares.of_sizes(order, np.array(sizes))
    plain = np.split(order, np.cumsum(sizes)[:-1])
    assert [list(indices) for indices in shares] == [list(indices) for indices in plain]
    assert list(shares[-1]) == list(plain[-1])
    assert [list(indices) for indices in shares[1:]] == [list(indices) for indices in plain[1:]]
    assert list(shares.sizes) == sizes


@given(clients=st.integers(1, 60))
def test_iid_sizes_differ_by_one_at_most(toy: Toy, clients: int) -> None:
    assert np.ptp(sizes(Iid().deal(toy(), clients, 1))) <= 1


def test_iid_splits_as_flwr_datasets_does(toy: Toy) -> None:
    ours = Iid().deal(toy(), 7, 3)
    theirs = partition_with(flower_partitioners().IidPartitioner(7), toy().labels, 3)
    assert [list(indices) for indices in ours] == [list(indices) for indices in theirs]


def test_natural_splits_as_flwr_datasets_does(toy: Toy) -> None:
    owner = np.arange(60) ** 2 % 7
    ours = Natural().deal(toy(client=owner), None, 3)
    theirs = partition_with(flower_partitioners().NaturalIdPartitioner("column"), owner, 3)
    assert [list(indices) for indices in ours] == [sorted(indices) for indices in theirs]


def test_dirichlet_gives_each_client_its_least(toy: Toy) -> None:
    owned = Dirichlet(alpha=0.3, min_size=15).deal(toy(400, classes=10), 10, 1)
    assert min(sizes(owned)) >= 15


def test_a_small_alpha_skews_more_than_a_large_one(toy: Toy) -> None:
    dataset = toy(2000, classes=10)

    def labels_seen(alpha: float) -> float:
        owned = Dirichlet(alpha=alpha, min_size=1).deal(dataset, 10, 1)
        return float(np.mean([len(set(dataset.labels[indices])) for indices in owned]))

    assert labels_seen(0.05) < 5 < labels_seen(100) == 10


@pytest.mark.parametrize("k", [1, 2, 3])
def test_classes_gives_each_client_so_many_classes(toy: Toy, k: int) -> None:
    dataset = toy(300, classes=5)
    owned = Classes(classes_per_client=k).deal(dataset, 8, 1)
    assert {len(set(dataset.labels[indices])) for indices in owned} == {k}


def test_shards_are_of_one_size_and_few_labels(toy: Toy) -> None:
    dataset = toy(503, classes=10)
    owned = Shards(shards_per_client=2).deal(dataset, 10, 1)
    used = np.concatenate(owned)
    assert sizes(owned) == [50] * 10
    assert len(set(used)) == len(used) == 500
    assert max(len(set(dataset.labels[indices])) for indices in owned) <= 4


def test_linear_sizes_grow_by_the_same_step(toy: Toy) -> None:
    assert sizes(Quantity(law="linear").deal(toy(100), 4, 1)) == [10, 20, 30, 40]


def test_exponential_sizes_grow_by_the_same_factor(toy: Toy) -> None:
    small, large = sizes(Quantity(law="exponential").deal(toy(1000), 2, 1))
    assert large / small == pytest.approx(np.e, rel=0.01)


def test_natural_leaves_out_clients_that_are_too_small(toy: Toy) -> None:
    owned = Natural(min_examples=2).deal(toy(5, client=np.array([0, 2, 2, 1, 0])), 2, 1)
    assert [list(indices) for indices in owned] == [[0, 4], [1, 2]]


@pytest.mark.parametrize("alpha", [None, 1.0])
def test_every_client_of_domains_holds_one_domain(toy: Toy, alpha: float | None) -> None:
    domain = np.arange(90) % 3
    owned = Domains(2, alpha, min_size=1).deal(toy(90, domain=domain), 6, 1)
    assert sorted(np.concatenate(owned)) == list(range(90))
    assert [set(domain[indices]) for indices in owned] == [{0}, {0}, {1}, {1}, {2}, {2}]


@pytest.mark.parametrize(
    ("partition", "clients", "data", "message"),
    [
        (Iid(), 61, {}, "61 clients cannot share 60 training examples"),
        (Iid(), None, {}, "clients.count is null"),
        (Dirichlet(0.1), 10, {}, r"10 clients of at least 10 examples \(min_size\) need 100"),
        (Dirichlet(1e-6, 10), 5, {}, "dirichlet with alpha 1e-06 left one of 5 clients below 10"),
        (Classes(4), 4, {}, "classes_per_client is 4, but there are 3 classes"),
        (Classes(2), 60, {}, "60 clients with 2 classes each are more than"),
        (Shards(20), 4, {}, "80 shards cannot be cut from 60 training examples"),
        (Quantity("exponential"), 20, {}, "client 0 has no examples"),
        (Quantity(alpha=1e-3), 6, {}, "quantity with alpha 0.001 left one of 6 clients below 10"),
        (Natural(), None, {}, "needs a client column"),
        (Natural(), 5, {"client": np.arange(60) % 4}, "clients.count is 5, .* 4 natural clients"),
        (Natural(31), None, {"client": np.arange(60) % 2}, "no natural client has .* 31 examples"),
        (Domains(), None, {}, "needs domains, and the data has none"),
        (Domains(2), 3, {"domain": np.arange(60) % 2}, "2 domains with 2 clients each make 4"),
        (
            Domains(targets=("usps",)),
            None,
            {"domain": np.arange(60) % 2},
            "target domain 'usps' is not in the data; it has ink, paint",
        ),
    ],
)
def test_what_cannot_be_split_is_refused_in_one_line(
    toy: Toy, partition: Partition, clients: int | None, data: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        partition.deal(toy(**data), clients, 1)
    assert "\n" not in str(caught.value)


def test_splitting_prints_nothing(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    Dirichlet(alpha=0.05, min_size=5).deal(toy(200, classes=10), 10, 1)
    Shards().deal(toy(), 4, 1)
    assert capfd.readouterr() == ("", "")


def uneven(toy: Toy) -> Dataset:
    """Return natural clients 0 to 9 with 1, 2, ... 10 examples."""
    return toy(55, client=np.repeat(np.arange(10), np.arange(1, 11)))


def owners(dataset: Dataset, owned: Sequence[Array]) -> list[int]:
    assert dataset.client is not None
    return [int(dataset.client[indices[0]]) for indices in owned]


def test_natural_takes_clients_by_how_much_they_hold(toy: Toy) -> None:
    dataset = uneven(toy)
    owned = Natural(min_examples=4, max_examples=7).deal(dataset, None, 1)
    assert sizes(owned) == [4, 5, 6, 7]
    first = Natural(min_examples=4, most_clients=3).deal(dataset, 3, 1)
    assert owners(dataset, first) == [3, 4, 5]


def test_natural_takes_any_clients_by_the_seed(toy: Toy) -> None:
    dataset = uneven(toy)
    some = [
        owners(dataset, Natural(most_clients=4, choose="random").deal(dataset, None, seed))
        for seed in range(200)
    ]
    assert all(len(set(taken)) == 4 and taken == sorted(taken) for taken in some)
    counts = np.bincount(np.concatenate(some), minlength=10)
    assert counts.min() > 50, "each of ten is taken about 80 times of 200"
    again = Natural(most_clients=4, choose="random").deal(dataset, None, 7)
    assert owners(dataset, again) == some[7]


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        (Natural(most_clients=11), "most_clients is 11, but 10 natural clients fit"),
        (Natural(min_examples=3, max_examples=2), "no natural client has 3 to 2 examples"),
    ],
)
def test_natural_says_which_clients_there_are_not(
    toy: Toy, partition: Natural, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        partition.deal(uneven(toy), None, 1)
