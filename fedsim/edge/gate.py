"""The gate before Flower's server: devices reach its fleet routes through it, and nothing else.

Flower serves devices and its operator at one port, and asks its operator for no proof of who he
is.  So the server listens on the loopback interface alone, and this gate on the devices' port.
It lets through what a node of the federation has signed, once, on the routes that devices need.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from fedsim.edge.delivery import PULL, Deliveries
from fedsim.edge.federation import FILE, DeviceNode, Federation
from fedsim.edge.signing import Denied, NodeList

__all__ = ["FLEET", "GREETING", "MOST_BYTES", "DeviceContact", "Gate"]

FLEET = frozenset(
    f"/v1/fleet/{verb}"
    for verb in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "push-object",
        "pull-object",
        "confirm-message-received",
    )
)
"""What a device asks of Flower.  Registering and unregistering keys is the operator's."""
GREETING = "/v1/fedsim/hello"
"""Where a device learns from the gate itself whether it is known, what time it is, and so on."""
MOST_BYTES = 64 << 20
"""Of one request's body; Flower cuts arrays into pieces of 5 MiB."""
_LEASE = {
    "/v1/fleet/activate-node": 60.0,
    "/v1/fleet/send-node-heartbeat": 60.0,
    "/v1/fleet/deactivate-node": 0.0,
}
"""For how long Flower's server takes a node to be there, and so refuses it, after what."""
_PASSED = ("content-type", "accept", "flwr-")
"""How the headers begin that go on to Flower."""
_RETURNED = ("content-type", "content-length", "flwr-")

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass
class DeviceContact:
    """What the gate knows of a node from its requests."""

    at: str = ""
    """The last one's time, in ISO form."""
    address: str = ""
    flwr: str = ""
    """The version of Flower that the device says it has."""
    requests: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


@dataclass
class Gate:
    """An ASGI application."""

    federation: Federation
    upstream: httpx.AsyncClient
    """Speaks to Flower's server."""
    roll: NodeList = field(default_factory=NodeList)
    contacts: dict[str, DeviceContact] = field(default_factory=dict)
    """By the node's name."""
    deliveries: Deliveries = field(default_factory=Deliveries)
    _leases: dict[str, float] = field(default_factory=dict)
    _read: tuple[int, int] = (0, 0)

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # websockets, and the server's own comings and goings
            return
        try:
            await self._answer(scope, receive, send)
        except Denied as denied:
            refusal = {"code": 0, "detail": denied.reason, "extra": f"fedsim: {denied.code}"}
            await _say(send, denied.status, refusal)

    async def _answer(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        path, method = scope["raw_path"].decode("latin-1"), scope["method"]
        is_greeting = (method, path) == ("GET", GREETING)
        if not is_greeting and not (method == "POST" and path in FLEET):
            raise Denied(403, "route", f"{method} {path[:100]} is not for devices")
        headers = _headers(scope)
        node = self._let_in(headers)
        contact = self._note(node, headers, scope)
        if is_greeting:
            return await _say(send, 200, self._greeting(node))
        body = await _body(headers, receive)
        contact.bytes_up += len(body)
        passed_on = {key: value for key, value in headers.items() if key.startswith(_PASSED)}
        request = self.upstream.build_request("POST", path, headers=passed_on, content=body)
        try:
            response = await self.upstream.send(request, stream=True)
        except httpx.TransportError as error:
            raise Denied(502, "server", "Flower's server does not answer") from error
        if path == PULL and response.status_code == 200:
            return await self._deliver(node, response, contact, send)
        self.deliveries.asked(node.name, path)
        if path in _LEASE and response.status_code == 200:
            self._leases[node.name] = time.monotonic() + _LEASE[path]
        return await self._pass_back(response, contact, send)

    async def _deliver(
        self, node: DeviceNode, response: httpx.Response, contact: DeviceContact, send: _Send
    ) -> None:
        try:
            body_found = b"".join([piece async for piece in response.aiter_raw()])
        finally:
            await response.aclose()
        body = self.deliveries.answer(node.name, body_found)
        contact.bytes_down += len(body)
        length = (b"content-length", str(len(body)).encode())
        headers = [pair for pair in _returned(response) if pair[0] != length[0]]
        start = {"status": 200, "headers": [*headers, length]}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": body})

    async def _pass_back(
        self, response: httpx.Response, contact: DeviceContact, send: _Send
    ) -> None:
        try:
            start = {"status": response.status_code, "headers": _returned(response)}
            await send({"type": "http.response.start", **start})
            async for piece in response.aiter_raw():
                contact.bytes_down += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    def _let_in(self, headers: Mapping[str, str]) -> DeviceNode:
        self._read_again()
        return self.roll.check(headers)

    def _read_again(self) -> None:
        """Take the federation's file anew where it has changed: a revoked key is out at once."""
        stat = (self.federation.path / FILE).stat()
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._read:
            self.federation = Federation.load(self.federation.path)
            self.roll.admit(self.federation.nodes)
            self._read = stamp

    def _note(self, node: DeviceNode, headers: Mapping[str, str], scope: _Scope) -> DeviceContact:
        contact = self.contacts.setdefault(node.name, DeviceContact())
        contact.at = datetime.now(UTC).isoformat(timespec="seconds")
        contact.address = (scope.get("client") or ("", 0))[0]
        contact.flwr = headers.get("flwr-package-version", contact.flwr)[:32]
        contact.requests += 1
        return contact

    def _greeting(self, node: DeviceNode) -> Mapping[str, object]:
        return {
            "federation": self.federation.name,
            "node": node.name,
            "client": node.client,
            "node_id": None if node.node_id is None else str(node.node_id),
            "time": time.time(),
            "busy": max(0.0, self._leases.get(node.name, 0.0) - time.monotonic()),
            "versions": self.federation.versions,
        }


def _returned(response: httpx.Response) -> list[tuple[bytes, bytes]]:
    return [
        (name.lower(), value)
        for name, value in response.headers.raw
        if name.lower().decode("latin-1").startswith(_RETURNED)
    ]


def _headers(scope: _Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in headers and (key.startswith(_PASSED) or key == "content-length"):
            raise Denied(400, "header", f"header {key[:100]} is given twice")
        headers[key] = value.decode("latin-1")
    return headers


async def _body(headers: Mapping[str, str], receive: _Receive) -> bytes:
    length = headers.get("content-length", "")
    if not length.isdecimal():
        raise Denied(411, "length", "a request needs a Content-Length header")
    if int(length) > MOST_BYTES:
        raise Denied(
            413, "length", f"a request of {length} bytes; at most {MOST_BYTES} are accepted"
        )
    pieces: list[bytes] = []
    async for piece in _pieces(receive):
        pieces.append(piece)
    return b"".join(pieces)  # the web server itself holds a body to the length it says


async def _pieces(receive: _Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Denied(400, "gone", "the device went away in the middle of a request")
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _say(send: _Send, status: int, content: Mapping[str, object]) -> None:
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if status >= 400:
        headers.append((b"connection", b"close"))  # what is left of a body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
