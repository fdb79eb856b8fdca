"""Examples that are normalised on a device are those that are normalised before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedsim.client import Unlabelled
from fedsim.data.federated import FederatedData, prepare
from fedsim.data.resident import Resident

CPU = torch.device("cpu")


def same(data: FederatedData, resident: Resident) -> None:
    for info in data.clients:
        expected, examples = data.train(info.id), resident.train(info.id)
        assert type(examples) is type(expected)
        tensors = {k: v for k, v in vars(expected).items() if isinstance(v, torch.Tensor)}
        for name, tensor in tensors.items():
            assert tensor.dtype == vars(examples)[name].dtype
            assert torch.equal(tensor, vars(examples)[name].cpu())


@pytest.fixture(params=["bytes", "floats", "table"])
def data(request, scenario, tmp_path: Path) -> FederatedData:
    generator = np.random.default_rng(1)
    inputs = {
        "bytes": generator.integers(0, 256, (60, 3, 4, 4), np.uint8),
        "floats": generator.normal(size=(60, 2, 4, 4)).astype(np.float32),
        "table": generator.normal(size=(60, 7)).astype(np.float32),
    }[request.param]
    labels = generator.integers(0, 3, 60)
    path = tmp_path / "own.npz"
    np.savez(path, inputs=inputs, labels=labels)
    return prepare(scenario(data={"source": f"npz:{path}"}), tmp_path / "store")


@pytest.mark.parametrize("room", [0, 1 << 30])
def test_normalised_there_they_are_the_same_to_the_last_bit(data, room) -> None:
    resident = Resident(data, CPU, room)
    assert resident.is_held == bool(room)
    same(data, resident)
    same(data, resident)  # what is held was not changed


DOMAINS = {
    "source": {"use": "digits_domains", "domains": ["plain", "rotated"]},
    "partition": {"use": "domains", "clients_per_domain": 2, "targets": ["rotated"]},
}


def test_a_target_has_no_labels_there_either(scenario, tmp_path) -> None:
    data = prepare(scenario(data=DOMAINS, clients={}), tmp_path / "store")
    resident = Resident(data, CPU, 1 << 30)
    kinds = {type(resident.train(info.id)) for info in data.clients if info.role == "target"}
    assert kinds == {Unlabelled}
    same(data, resident)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_normalises_as_the_cpu_does(data) -> None:
    same(data, Resident(data, torch.device("cuda")))
