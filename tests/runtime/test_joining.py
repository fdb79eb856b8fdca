"""An address that leads to no fitting cluster is refused soon, in one line that says why."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fedsim.errors import ScenarioError

pytest.importorskip("ray")
joining = pytest.importorskip("fedsim.runtime.joining")


@pytest.fixture
def mute() -> Iterator[str]:
    """Return the address of somebody who listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def old() -> Iterator[str]:
    """Return the address of a cluster that runs another Ray, as far as it is asked."""
    import grpc  # type: ignore[import-untyped]
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    messages: Any = gcs_service_pb2
    services: Any = gcs_service_pb2_grpc

    class Old(services.NodeInfoGcsServiceServicer):  # type: ignore[misc]
        def CheckAlive(self, request: object, context: object) -> Any:
            return messages.CheckAliveReply(ray_version="2.9.0")

    server = grpc.server(ThreadPoolExecutor(1))
    services.add_NodeInfoGcsServiceServicer_to_server(Old(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def refusal(address: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        joining.join(address)
    (fault,) = caught.value.faults
    assert (fault.key, "\n" in fault.message) == ("compute.address", False)
    return fault.message.removeprefix(f"{address}: ")


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_where_nobody_listens(kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert refusal(f"{kind}127.0.0.1:{port}") == "nothing answers there: Connection refused"


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_where_something_else_listens(kind, mute, monkeypatch) -> None:
    monkeypatch.setattr(joining, "ANSWER_S", 0.2)
    assert refusal(f"{kind}{mute}") == "what listens there is no Ray cluster"


def test_a_cluster_of_another_ray(old) -> None:
    import ray

    assert refusal(old) == f"it runs Ray 2.9.0, and here is Ray {ray.__version__}"


def test_the_port_of_the_cluster_where_that_of_the_client_server_belongs(old) -> None:
    assert refusal(f"ray://{old}") == "that is the port of address: host:port, without ray://"
