"""A small federation on disk, and free ports for it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fedsim.edge.federation import Federation
from fedsim.edge.layout import FederationPlan, make_federation

SCENARIO = {
    "rounds": 2,
    "data": {"source": "digits"},
    "model": {"use": "mlp", "hidden": [8]},
    "clients": {"count": 10},
    "local": {"lr": 0.1, "epochs": 1, "batch_size": 32},
    "strategy": "fedavg",
}

Make = Callable[..., Federation]


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that were free a moment ago."""
    found = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in found]
    for one in found:
        one.close()
    return ports


@pytest.fixture
def federate(tmp_path: Path) -> Make:
    """Return a maker of federations: name what differs from two devices on this machine."""

    def make(
        nodes: tuple[str, ...] = ("a", "b"), host: str = "127.0.0.1", folder: str = "fed"
    ) -> Federation:
        file = tmp_path / "small.yaml"
        file.write_text(yaml.safe_dump(SCENARIO))
        port, control = free_ports(2)
        return make_federation(FederationPlan(file, nodes, host, port, control), tmp_path / folder)

    return make
