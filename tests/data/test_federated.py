"""Prepared data is exact, whole or absent, shared between readers, and the same when reopened."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedsim.client import Examples, Unlabelled
from fedsim.data import store
from fedsim.data.dataset import Array, Dataset
from fedsim.data.federated import FederatedData
from fedsim.data.partitions.domains import Domains
from fedsim.data.partitions.iid import Iid
from fedsim.data.partitions.natural import Natural
from fedsim.data.shift import Noise
from fedsim.errors import DataError

Toy = Callable[..., Dataset]
Partitioner = Callable[..., FederatedData]


def rows(data: FederatedData, client: int) -> list[list[int]]:
    """Return the rows in each part of a client, of a toy that is not normalised."""
    parts = [data.part(client, part).inputs for part in ("train", "val", "test")]
    return [part.flatten().int().tolist() for part in parts]


def test_parts_and_server_test_are_disjoint_and_cover_everything(
    toy: Toy, partitioned: Partitioner
) -> None:
    fifth = Fraction(1, 5)
    data = partitioned(
        toy(), server_test=fifth, client_val=fifth, client_test=fifth, normalize=False
    )
    server_rows = data.server_test().inputs.flatten().int().tolist()
    client_rows = [row for client in range(4) for part in rows(data, client) for row in part]
    assert len(server_rows) == 12
    assert sorted(server_rows + client_rows) == list(range(60))
    assert [len(part) for part in rows(data, 0)] == [8, 2, 2]


def test_the_server_test_holds_every_class_in_proportion(
    toy: Toy, partitioned: Partitioner
) -> None:
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    data = partitioned(toy(labels=labels), server_test=Fraction(1, 10))
    assert torch.bincount(data.server_test().labels).tolist() == [3, 2, 1]


def test_an_official_test_split_stays_with_the_server_whole(
    toy: Toy, partitioned: Partitioner
) -> None:
    test = np.array([[7], [8]], np.float32)
    data = partitioned(
        toy(test_inputs=test, test_labels=np.array([1, 2])),
        server_test=Fraction(1, 2),
        normalize=False,
    )
    assert data.server_test().inputs.tolist() == [[7], [8]]
    assert sum(client.examples for client in data.clients) == 60


def test_clients_and_labels_stay_with_their_examples(toy: Toy, partitioned: Partitioner) -> None:
    owner = np.arange(60) // 20
    data = partitioned(toy(client=owner), partition=Natural(), clients=None, normalize=False)
    for client in range(3):
        examples = data.train(client)
        assert examples.inputs.flatten().tolist() == list(range(20 * client, 20 * client + 20))
        assert examples.labels.tolist() == [row % 3 for row in range(20 * client, 20 * client + 20)]


def test_normalisation_is_by_the_training_parts_alone_and_exact(
    toy: Toy, partitioned: Partitioner
) -> None:
    table = np.array([[1, 5, 0], [3, 5, 1], [5, 5, 0], [7, 5, 0]], np.float32)
    data = partitioned(
        toy(4, inputs=table, test_inputs=table[:1] + 10, test_labels=np.array([0])), clients=1
    )
    # By columns: mean 4 and deviation sqrt(5); constant, centred only; 0 and 1, left alone.
    expected = np.stack([(table[:, 0] - 4) / np.sqrt(np.float32(5)), table[:, 1] - 5, table[:, 2]])
    mine = data.train(0).inputs
    assert mine.dtype == torch.float32
    assert sorted(mine.tolist()) == pytest.approx(np.array(sorted(expected.T.tolist())))
    assert data.server_test().inputs[0, 0] == pytest.approx((11 - 4) / np.sqrt(5))


def test_images_are_normalised_per_channel(toy: Toy, partitioned: Partitioner) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 2, 3, 3), dtype=np.uint8)
    pooled = partitioned(toy(inputs=pixels), client_test=Fraction(1, 5)).pooled().inputs
    assert pooled.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert pooled.std(dim=(0, 2, 3), correction=0).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_without_normalisation_bytes_become_0_to_1(toy: Toy, partitioned: Partitioner) -> None:
    pixels = np.full((60, 1, 2, 2), 51, np.uint8)
    inputs = partitioned(toy(inputs=pixels), normalize=False).train(0).inputs
    assert torch.equal(inputs, torch.full((15, 1, 2, 2), 0.2))


def test_pooled_is_all_training_parts_in_the_order_of_clients(
    toy: Toy, partitioned: Partitioner
) -> None:
    data = partitioned(toy(), client_test=Fraction(1, 5))
    parts = [data.train(client) for client in range(len(data.clients))]
    assert torch.equal(data.pooled().inputs, torch.cat([part.inputs for part in parts]))
    assert torch.equal(data.pooled().labels, torch.cat([part.labels for part in parts]))


def test_counts_are_the_training_labels_of_each_client(toy: Toy, partitioned: Partitioner) -> None:
    data = partitioned(toy(), client_val=Fraction(1, 10))
    expected = [torch.bincount(data.train(k).labels, minlength=3).tolist() for k in range(4)]
    assert data.counts().tolist() == expected


def test_a_store_reopened_is_equal(toy: Toy, partitioned: Partitioner, tmp_path: Path) -> None:
    written = partitioned(toy(), client_test=Fraction(1, 5))
    opened = FederatedData.open(tmp_path / "store")
    assert opened.digest == written.digest
    assert list(opened.clients) == list(written.clients)
    assert torch.equal(opened.train(2).inputs, written.train(2).inputs)
    assert torch.equal(opened.part(2, "test").labels, written.part(2, "test").labels)


def test_a_store_is_mapped_not_copied(toy: Toy, partitioned: Partitioner, tmp_path: Path) -> None:
    partitioned(toy())
    arrays, _ = store.read(tmp_path / "store")
    assert isinstance(arrays["inputs"].base, np.memmap)
    assert not arrays["inputs"].flags.writeable


def test_a_complete_store_is_used_as_it_is(toy: Toy, partitioned: Partitioner) -> None:
    assert partitioned(toy(40)).digest == partitioned(toy(60)).digest


def test_nothing_but_the_store_is_left_behind(
    toy: Toy, partitioned: Partitioner, tmp_path: Path
) -> None:
    partitioned(toy())
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_half_a_store_is_no_store(toy: Toy, partitioned: Partitioner, tmp_path: Path) -> None:
    partitioned(toy())
    (tmp_path / "store" / "labels.npy").unlink()
    with pytest.raises(DataError, match="holds no complete prepared data"):
        FederatedData.open(tmp_path / "store")


@pytest.mark.parametrize(
    "changes", [{"seed": 2}, {"clients": 5}, {"client_test": Fraction(1, 5)}, {"shift": Noise(0.1)}]
)
def test_the_digest_differs_for_other_data_and_other_partitions(
    toy: Toy, partitioned: Partitioner, changes: dict[str, Any]
) -> None:
    assert partitioned(toy(), "a").digest == partitioned(toy(), "b").digest
    assert partitioned(toy(), "a").digest != partitioned(toy(), "c", **changes).digest


def test_recent_clients_are_cached_up_to_a_number_of_bytes(
    toy: Toy, partitioned: Partitioner, tmp_path: Path
) -> None:
    partitioned(toy())  # 15 examples a client: 60 bytes of inputs, 120 of labels.
    small = FederatedData.open(tmp_path / "store", cache_bytes=400)
    first, second = small.train(0), small.train(1)

    def is_same(left: Examples | Unlabelled, right: Examples | Unlabelled) -> bool:
        return left.inputs.data_ptr() == right.inputs.data_ptr()

    assert is_same(small.train(0), first)
    small.train(2)
    assert is_same(small.train(0), first)
    assert not is_same(small.train(1), second)


def test_clients_know_their_domain_and_role(toy: Toy, partitioned: Partitioner) -> None:
    domain = np.arange(60) % 2
    data = partitioned(
        toy(domain=domain),
        partition=Domains(2, targets=("paint",)),
        clients=None,
    )
    clients = [(info.id, info.domain, info.role) for info in data.clients]
    assert clients == [
        (0, "ink", "source"),
        (1, "ink", "source"),
        (2, "paint", "target"),
        (3, "paint", "target"),
    ]
    assert list(data.clients[1:3]) == [data.clients[1], data.clients[2]]


def test_the_server_test_can_be_asked_by_domain(toy: Toy, partitioned: Partitioner) -> None:
    data = partitioned(
        toy(
            domain=np.arange(60) % 2,
            test_inputs=np.array([[1], [2], [3]], np.float32),
            test_labels=np.array([0, 1, 2]),
            test_domain=np.array([1, 0, 1]),
        ),
    )
    assert data.server_test("paint").labels.tolist() == [0, 2]


def test_every_client_has_noise_of_its_own(toy: Toy, partitioned: Partitioner) -> None:
    flat = toy(4000, inputs=np.zeros((4000, 1), np.float32))
    data = partitioned(flat, shift=Noise(sigma=4.0), normalize=False)
    spread = [float(data.train(client).inputs.std()) for client in range(4)]
    assert spread == pytest.approx([0, 1, 2, 3], rel=0.1)
    assert not data.server_test().inputs.any()


def test_a_shift_leaves_training_and_server_test_on_one_scale(
    toy: Toy, partitioned: Partitioner
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 1, 2, 2), dtype=np.uint8)
    dataset = toy(inputs=pixels, test_inputs=pixels, test_labels=np.arange(60) % 3)
    plain, shifted = (
        partitioned(dataset, "plain"),
        partitioned(dataset, "shifted", shift=Noise(0.0)),
    )
    assert torch.allclose(shifted.server_test().inputs, plain.server_test().inputs, atol=1e-5)
    assert torch.allclose(shifted.train(3).inputs, plain.train(3).inputs, atol=1e-5)


class Chosen:
    """A partition that gives each client the indices it was built with."""

    def __init__(self, *owned: list[int]) -> None:
        self.owned = owned

    def deal(self, dataset: Dataset, clients: int | None, seed: int) -> list[Array]:
        return [np.array(indices, dtype=np.int64) for indices in self.owned]


@pytest.mark.parametrize(
    ("owned", "message"),
    [
        ([[0, 1], []], "client 1 has no examples"),
        ([[0, 60]], "client 0 was given indices that are not 0 to 59"),
        ([[0], [-1]], "client 1 was given indices that are not 0 to 59"),
        ([], "gave examples to no client"),
    ],
)
def test_what_a_partition_returns_is_checked(
    toy: Toy, partitioned: Partitioner, owned: list[list[int]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        partitioned(toy(), partition=Chosen(*owned))


def test_an_unfinished_partition_leaves_no_store(
    toy: Toy, partitioned: Partitioner, tmp_path: Path
) -> None:
    with pytest.raises(DataError):
        partitioned(toy(), partition=Iid(), clients=61)
    assert not list(tmp_path.iterdir())


def test_a_hundred_thousand_clients_are_cheap(
    toy: Toy, partitioned: Partitioner, tmp_path: Path
) -> None:
    data = partitioned(toy(100_000), clients=100_000)
    assert len(data.clients) == 100_000
    assert data.clients[99_999].examples == 1
    assert json.loads((tmp_path / "store" / "meta.json").read_text())["format"] == 1
