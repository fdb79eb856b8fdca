"""A device that cannot join is told why in one line, over real sockets of the loopback."""

from __future__ import annotations

import asyncio
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import uvicorn

from fedsim.edge import signing
from fedsim.edge.bundle import Bundle
from fedsim.edge.federation import Federation
from fedsim.edge.gate import Gate
from fedsim.edge.pki import days_left, make_authority, make_server_certificate
from fedsim.edge.reach import _protobuf_id, leave, register
from fedsim.errors import Refused, Unreachable


async def nobody(scope: Any, receive: Any, send: Any) -> None:
    """Stands where Flower's server is, and knows no device to let go."""
    await receive()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"code": 2005, "detail": "no"}'})


@contextmanager
def served(federation: Federation, address: str = "127.0.0.1") -> Iterator[None]:
    """Serve the gate, with the certificate that is in the folder, until the block ends."""
    folder = federation.path / "server"
    transport = httpx.ASGITransport(nobody)
    upstream = httpx.AsyncClient(transport=transport, base_url="https://inner.test")
    config = uvicorn.Config(
        Gate(federation, upstream),
        log_level="critical",
        lifespan="off",
        ws="none",
        ssl_certfile=folder / "server.crt",
        ssl_keyfile=folder / "server.key",
    )
    server = uvicorn.Server(config)
    door = socket.create_server((address, federation.port))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([door])))
    thread.start()
    try:
        until = time.monotonic() + 10
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()
        door.close()


def bundle_of(federation: Federation, name: str = "a") -> Bundle:
    return Bundle.load(federation.path / "bundles" / name)


def test_a_device_of_the_federation_is_greeted(federate):
    federation = federate()
    with served(federation):
        welcome = register(bundle_of(federation, "b"))
    assert (welcome.federation, welcome.node, welcome.client) == ("small", "b", 1)
    assert abs(welcome.skew) < 2
    assert welcome.versions == federation.versions


def test_a_certificate_of_another_authority_is_refused(federate, tmp_path):
    federation = federate()
    make_authority(tmp_path / "ca2", "small")
    make_server_certificate(tmp_path / "ca2", federation.path / "server", ["127.0.0.1"])
    with served(federation), pytest.raises(Refused, match="not signed by this federation's"):
        register(bundle_of(federation))


def test_an_expired_certificate_is_refused(federate):
    federation = federate()
    server = federation.path / "server"
    make_server_certificate(federation.path / "ca", server, ["127.0.0.1"], days=-1)
    assert -1.1 < days_left(server / "server.crt") < -0.9
    with served(federation), pytest.raises(Refused, match="has expired: restart its server"):
        register(bundle_of(federation))


def test_a_certificate_for_another_host_is_refused(federate):
    federation = federate()
    bundle = replace(bundle_of(federation), host="127.0.0.2")  # Linux has all of 127/8
    with served(federation, "127.0.0.2"), pytest.raises(Refused, match="for another host than 127"):
        register(bundle)


def test_plain_http_is_refused(federate):
    federation = federate()
    handler = http.server.BaseHTTPRequestHandler
    with http.server.HTTPServer(("127.0.0.1", federation.port), handler) as plain:
        thread = threading.Thread(target=plain.handle_request)
        thread.start()
        with pytest.raises(Refused, match="speaks plain HTTP, not TLS"):
            register(bundle_of(federation))
        thread.join()


def test_the_gate_does_not_speak_plain_http(federate):
    federation = federate()
    with served(federation), pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{federation.port}/v1/fedsim/hello", trust_env=False)


def test_a_key_of_another_federation_is_refused(federate):
    federation, other = federate(), federate(folder="other")
    mixed = bundle_of(other)
    mixed.ca_certificate.write_bytes(federation.ca_certificate.read_bytes())
    with served(federation), pytest.raises(Refused, match="does not know the key of a"):
        register(replace(mixed, port=federation.port))


def test_a_revoked_key_is_refused(federate):
    federation = federate()
    node = replace(federation.node("a"), revoked=True)
    federation.with_node(node).write()
    with served(federation), pytest.raises(Refused, match="refuses a: its key was revoked"):
        register(bundle_of(federation))


def test_a_wrong_clock_is_named_and_may_be_set_right(federate, monkeypatch):
    federation = federate()

    class Late(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(minutes=10)

    with served(federation):
        monkeypatch.setattr(signing, "datetime", Late)
        with pytest.raises(Unreachable, match=r"the clock of a is 60\d s behind .* NTP"):
            register(bundle_of(federation))


def test_a_server_that_is_down_is_named(federate):
    federation = federate()
    with pytest.raises(Unreachable, match=r"cannot reach .* \(connection refused\)"):
        register(bundle_of(federation))
    with pytest.raises(Unreachable, match=r"no address is known for nowhere\.invalid"):
        register(replace(bundle_of(federation), host="nowhere.invalid"))


def test_what_flowers_server_refuses_may_be_asked_again(federate):
    federation = federate()
    with served(federation), pytest.raises(Unreachable, match="for now: no"):
        leave(bundle_of(federation), "5")


@pytest.mark.parametrize("node_id", [0, 1, 127, 128, 300, 2**63, 2**64 - 1])
def test_a_node_is_named_as_protobuf_names_it(node_id):
    from flwr.proto.fleet_pb2 import DeactivateNodeRequest

    request = DeactivateNodeRequest()
    request.ParseFromString(_protobuf_id(node_id))
    assert request.node_id == node_id
