"""Joining a Ray cluster: only one that answers, and runs the Ray and Python of this process."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import ray
from ray._private import ray_constants
from ray._private.services import get_ray_address_from_environment

from fedsim.runtime.allocation import unfit

__all__ = ["join"]

ANSWER_S = 5.0
"""What a cluster may take for its first answer."""

CLIENT = "ray://"
"""How an address begins that leads through Ray's client server, from outside the cluster."""


def join(address: str, **how: Any) -> None:
    """Join the cluster at ``address``: auto, host:port, or ray://host:port.

    Raises:
        ScenarioError: if there is no such cluster, or it is one of another Ray or Python.
    """
    try:
        resolved = _found(address)
        # Ray takes 127.0.0.1 for a name of this machine that others know, unless told so.
        ray_constants.ENABLE_RAY_CLUSTER = not _keeps_to_itself(resolved)
        ray.init(address=resolved, **how)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise unfit("address", f"{address}: {_said(error)}", _hint(address)) from error


def _hint(address: str) -> str:
    if address.startswith(CLIENT):
        return "ray start --head serves ray:// on port 10001 unless told otherwise"
    return "ray start --head starts a cluster, and says its address"


def _found(address: str) -> str:
    """Return ``address``, or the one that ``auto`` stands for, once somebody listens there."""
    if address == "auto":
        address = get_ray_address_from_environment("auto", None)
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except OSError as error:
        raise ConnectionError(f"nothing answers there: {error.strerror or error}") from error
    return address


def _keeps_to_itself(address: str) -> bool:
    """Return whether a cluster has only loopback addresses, as far as ``address`` tells.

    Ray takes minutes to give up where something else listens, so that it is asked first.
    """
    import grpc  # type: ignore[import-untyped]
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    messages: Any = gcs_service_pb2  # Ray makes their members at run time
    services: Any = gcs_service_pb2_grpc
    is_client = address.startswith(CLIENT)
    channel = init_grpc_channel(address.removeprefix(CLIENT))
    try:
        grpc.channel_ready_future(channel).result(ANSWER_S)
        stub = services.NodeInfoGcsServiceStub(channel)
        theirs = stub.CheckAlive(messages.CheckAliveRequest(), timeout=ANSWER_S).ray_version
        if is_client:
            raise ConnectionError("that is the port of address: host:port, without ray://")
        if theirs != ray.__version__:
            raise ConnectionError(f"it runs Ray {theirs}, and here is Ray {ray.__version__}")
        nodes = stub.GetAllNodeInfo(messages.GetAllNodeInfoRequest(), timeout=ANSWER_S)
    except (grpc.RpcError, grpc.FutureTimeoutError) as error:
        # A client server has no such method; Ray itself compares versions then.
        if is_client and isinstance(error, grpc.RpcError) and "UNIMPLEMENTED" in str(error):
            return False
        raise ConnectionError("what listens there is no Ray cluster") from error
    finally:
        channel.close()
    hosts = [node.node_manager_address for node in nodes.node_info_list]
    return all(ipaddress.ip_address(host).is_loopback for host in hosts)


def _said(error: Exception) -> str:
    """Return what Ray says, as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.partition(" Please ")[0].rstrip(".")
