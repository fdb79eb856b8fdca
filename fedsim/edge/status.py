"""Shows which devices of a federation are connected, and revokes one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fedsim.edge.federation import DeviceNode, Federation, flwr
from fedsim.edge.pki import days_left
from fedsim.edge.server import SEEN
from fedsim.errors import FedsimError
from fedsim.runlog import lock

__all__ = ["DeviceRow", "Status", "look", "take_out"]


@dataclass(frozen=True)
class DeviceRow:
    """A device at a glance."""

    name: str
    client: int
    state: str
    """``online``, ``offline``, ``registered`` (never joined), ``revoked`` or ``unknown``."""
    last_seen: str
    """In ISO form; empty where it never called."""
    address: str
    flwr: str
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True)
class Status:
    """A federation at a glance."""

    is_up: bool
    days_left: float
    """For how many days the server's certificate is still valid."""
    nodes: tuple[DeviceRow, ...]


def look(federation: Federation) -> Status:
    """Return who is there; of a server that is down, who was."""
    is_up = lock.is_held(federation.path / "server")
    states: dict[str, str] = {}
    if is_up:
        listed = flwr(federation, "supernode", "list", federation.connection().name)["nodes"]
        states = {node["node-id"]: node["status"] for node in listed}
    try:
        contacts = json.loads((federation.path / "server" / SEEN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        contacts = {}
    return Status(
        is_up=is_up,
        days_left=days_left(federation.path / "server" / "server.crt"),
        nodes=tuple(_row(node, states, contacts.get(node.name, {})) for node in federation.nodes),
    )


def _row(node: DeviceNode, states: Mapping[str, str], contact: Mapping[str, Any]) -> DeviceRow:
    state = "revoked" if node.revoked else states.get(str(node.node_id), "unknown")
    return DeviceRow(
        name=node.name,
        client=node.client,
        state=state,
        last_seen=str(contact.get("at", "")),
        address=str(contact.get("address", "")),
        flwr=str(contact.get("flwr", "")),
        bytes_up=int(contact.get("bytes_up", 0)),
        bytes_down=int(contact.get("bytes_down", 0)),
    )


def take_out(federation: Federation, name: str) -> str:
    """Revoke the key of the node that is called ``name``.

    The gate reads the federation's file anew and lets the device in no more from this moment on.

    Returns:
        What is still to come, in words; empty if nothing is.

    Raises:
        RunFolderError: if there is no such node.
    """
    node = federation.node(name)
    federation.with_node(replace(node, revoked=True)).write()
    if node.node_id is None:
        return ""
    try:
        connection = federation.connection().name
        flwr(federation, "supernode", "unregister", str(node.node_id), connection)
    except FedsimError:
        return "Flower's server does not answer; it learns of the revocation when it starts"
    return ""
