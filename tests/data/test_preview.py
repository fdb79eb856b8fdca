"""The deal can be seen: as a picture, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fedsim.data import federated, preview
from fedsim.data.dataset import Dataset
from fedsim.data.federated import FederatedData
from fedsim.data.partitions.domains import Domains
from fedsim.data.partitions.natural import Natural
from fedsim.data.preview import draw, label_skew, text, write_partition
from fedsim.errors import DataError

Toy = Callable[..., Dataset]
Partitioner = Callable[..., FederatedData]


def by_label(toy: Toy, partitioned: Partitioner) -> FederatedData:
    """Partitioner each of two labels to a client of its own."""
    dataset = toy(classes=2)
    return partitioned(toy(classes=2, client=dataset.labels), partition=Natural(), clients=None)


def test_clients_that_are_alike_have_no_skew(toy: Toy, partitioned: Partitioner) -> None:
    alike = partitioned(toy(client=np.arange(60) // 3 % 2), partition=Natural(), clients=None)
    assert label_skew(alike) == pytest.approx(0, abs=1e-7)


def test_the_skew_of_one_label_each_is_known(toy: Toy, partitioned: Partitioner) -> None:
    # KL([1, 0] || [3/4, 1/4]) = log2(4/3); KL([1/2, 1/2] || [3/4, 1/4]) = (log2(2/3) + 1) / 2.
    expected = np.sqrt((np.log2(4 / 3) + (np.log2(2 / 3) + 1) / 2) / 2)
    assert label_skew(by_label(toy, partitioned)) == pytest.approx(expected)


def test_partition_json_says_who_holds_what(
    toy: Toy, partitioned: Partitioner, tmp_path: Path
) -> None:
    write_partition(by_label(toy, partitioned), tmp_path)
    content = json.loads((tmp_path / "partition.json").read_text())
    assert content["clients"][1] == {
        "id": 1, "examples": 30, "domain": "", "role": "source", "labels": [0, 30],
    }  # fmt: skip
    assert content["label_skew"] == pytest.approx(0.558, abs=1e-3)


def test_reading_clients_in_blocks_changes_nothing(
    toy: Toy, partitioned: Partitioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = partitioned(toy(60, classes=5), clients=7, client_val=Fraction(1, 5))
    at_once = data.counts(), label_skew(data)
    write_partition(data, tmp_path)
    written = (tmp_path / "partition.json").read_bytes()
    monkeypatch.setattr(federated, "_BLOCK", 3)
    monkeypatch.setattr(preview, "_BLOCK", 2)
    write_partition(data, tmp_path)
    assert (tmp_path / "partition.json").read_bytes() == written
    assert data.counts().tolist() == at_once[0].tolist()
    assert label_skew(data) == at_once[1]
    assert at_once[0].sum(axis=1).tolist() == data.sizes.tolist()


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_the_same_data_gives_the_same_bytes(
    toy: Toy, partitioned: Partitioner, tmp_path: Path, suffix: str
) -> None:
    data = partitioned(
        toy(domain=np.arange(60) % 2),
        partition=Domains(2, targets=("ink",)),
    )
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        draw(data, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_unknown_suffix_is_refused(toy: Toy, partitioned: Partitioner, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"name it .svg, .png or .pdf"):
        draw(partitioned(toy()), tmp_path / "partition.doc")


def test_text_shows_a_row_per_client_and_the_skew(toy: Toy, partitioned: Partitioner) -> None:
    assert text(by_label(toy, partitioned)).splitlines() == [
        "  client  examples  labels 0 to 1",
        "       0        30  █·",
        "       1        30  ·█",
        "2 clients, 60 training examples, 0 test examples on the server",
        "examples per client: least 30, median 30, most 30",
        "labels per client:   1 to 1 of 2",
        "label skew:          0.56 (0: all alike, towards 1: each its own)",
    ]


def test_text_of_many_clients_is_cut(toy: Toy, partitioned: Partitioner) -> None:
    shown = text(partitioned(toy(), clients=60), most=5)
    assert "5 of 60 clients shown" in shown
    assert len(shown.splitlines()) == 11
