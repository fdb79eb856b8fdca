"""The gate lets through what a node signed, once, on the fleet's routes, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from fedsim.edge.bundle import Bundle
from fedsim.edge.delivery import Deliveries
from fedsim.edge.federation import Federation
from fedsim.edge.gate import FLEET, GREETING, MOST_BYTES, Gate
from fedsim.edge.signing import BEHIND, Denied, NodeList, Signer

PULL = "/v1/fleet/pull-messages"
ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffff"
    "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)
"""Of the curve P-384: with (r, s), (r, ORDER - s) is a signature too, and anybody can make it."""


async def echo(scope, receive, send):
    """Stands where Flower's server is: says what it was asked."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    names = b",".join(sorted(name for name, _ in scope["headers"]))
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/protobuf"), (b"x-inner", b"1")],
        }
    )
    first = scope["path"].encode() + b" " + body + b" "
    await send({"type": "http.response.body", "body": first, "more_body": True})
    await send({"type": "http.response.body", "body": names})


class Door:
    """A gate before the echo, and devices that knock."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        upstream = httpx.AsyncClient(
            transport=httpx.ASGITransport(echo), base_url="https://inner.test"
        )
        self.gate = Gate(federation, upstream)
        self.signers = {
            node.name: Signer(Bundle.load(federation.path / "bundles" / node.name).key)
            for node in federation.nodes
        }

    def knock(
        self, path: str = PULL, headers: Any = None, method: str = "POST", body: Any = b"x"
    ) -> httpx.Response:
        headers = self.signers["a"].headers() if headers is None else headers

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.gate, client=("192.0.2.7", 1))
            async with httpx.AsyncClient(transport=transport, base_url="https://gate.test") as one:
                return await one.request(method, path, headers=headers, content=body)

        return asyncio.run(ask())


@pytest.fixture
def door(federate):
    return Door(federate())


@pytest.mark.parametrize("path", sorted(FLEET))
def test_what_devices_need_passes(door, path):
    answer = door.knock(path, body=b"\x08\x01")
    assert answer.status_code == 200
    assert answer.content.startswith(path.encode() + b" \x08\x01 ")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/control/list-nodes",
        "/v1/runtime/acquire-task",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet/pull-messages/",
        "//v1/fleet/pull-messages",
        "/V1/FLEET/pull-messages",
        "/docs",
        "/openapi.json",
        "/health",
        "/",
    ],
)
def test_nothing_else_passes_even_signed(door, path):
    answer = door.knock(path)
    assert answer.status_code == 403
    assert "is not for devices" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_the_fleet_is_asked_by_post_only(door, method):
    assert door.knock(method=method).status_code == 403


def test_inner_headers_stay_inside_and_outer_ones_outside(door):
    headers = door.signers["a"].headers() | {"cookie": "c", "x-forwarded-for": "1"}
    answer = door.knock(headers=headers)
    assert "x-inner" not in answer.headers
    assert b"cookie" not in answer.content
    assert b"forwarded" not in answer.content
    assert b"flwr-signature" in answer.content


def test_a_request_is_taken_once(door):
    headers = door.signers["a"].headers()
    assert door.knock(headers=headers).status_code == 200
    again = [door.knock(headers=headers, body=f"body {n}".encode()) for n in range(100)]
    assert {answer.status_code for answer in again} == {503}
    assert again[0].json()["detail"] == "a request of a was sent a second time (a replay)"
    assert door.knock("/v1/fleet/deactivate-node", headers).status_code == 503


def test_another_signature_of_the_same_time_is_the_same_request(door):
    headers = door.signers["a"].headers()
    assert door.knock(headers=headers).status_code == 200
    r, s = decode_dss_signature(base64.b64decode(headers["flwr-signature"]))
    twin = base64.b64encode(encode_dss_signature(r, ORDER - s)).decode()
    assert door.knock(headers=headers | {"flwr-signature": twin}).status_code == 503


def test_who_is_not_of_the_federation_is_told(door, federate):
    stranger = Signer(federate(folder="other").path / "bundles" / "a" / "node.key")
    answer = door.knock(headers=stranger.headers())
    assert answer.status_code == 401
    assert answer.json()["detail"] == "this key does not belong to the federation"


def test_one_node_cannot_speak_for_another(door):
    mine, other = door.signers["a"].headers(), door.signers["b"].headers()
    mixed = mine | {"flwr-public-key": other["flwr-public-key"]}
    answer = door.knock(headers=mixed)
    assert (answer.status_code, answer.json()["detail"]) == (401, "the signature is not b's")


@pytest.mark.parametrize("lost", ["flwr-public-key", "flwr-timestamp", "flwr-signature"])
def test_an_unsigned_request_is_refused(door, lost):
    headers = door.signers["a"].headers()
    del headers[lost]
    assert door.knock(headers=headers).status_code == 401
    assert door.knock(headers=headers | {lost: "?garbage?"}).status_code == 401


def test_a_header_that_is_given_twice_is_refused(door):
    pairs = [*door.signers["a"].headers().items(), ("flwr-timestamp", "2020-01-01T00:00:00+00:00")]
    assert door.knock(headers=pairs).status_code == 400


def test_a_revoked_key_is_out_with_the_next_request(door):
    assert door.knock().status_code == 200
    node = replace(door.federation.node("a"), revoked=True)
    door.federation.with_node(node).write()
    answer = door.knock()
    assert (answer.status_code, answer.json()["detail"]) == (401, "the key of a was revoked")
    assert door.knock(headers=door.signers["b"].headers()).status_code == 200


def test_a_body_without_a_length_or_too_long_is_refused(door):
    async def endless() -> AsyncIterator[bytes]:
        yield b"x"

    assert door.knock(body=endless()).status_code == 411
    huge = door.signers["a"].headers() | {"content-length": str(MOST_BYTES + 1)}
    assert door.knock(headers=huge).status_code == 413


def test_a_greeting_says_who_one_is_and_what_time_it_is(door):
    told = door.knock(GREETING, method="GET").json()
    assert (told["federation"], told["node"], told["client"]) == ("small", "a", 0)
    assert abs(told["time"] - time.time()) < 60
    assert told["versions"].keys() == {"python", "fedsim", "flwr", "torch"}
    assert door.knock(GREETING, method="GET", headers={}).status_code == 401


def test_a_greeting_says_how_long_flower_takes_the_device_to_be_there(door):
    def busy() -> float:
        return float(door.knock(GREETING, method="GET").json()["busy"])

    assert busy() == 0
    door.knock("/v1/fleet/activate-node")
    assert 50 < busy() <= 60
    door.knock("/v1/fleet/deactivate-node")
    assert busy() == 0


def test_the_gate_counts_what_a_node_sends_and_gets(door):
    door.knock(body=b"12345")
    door.knock(body=b"678")
    seen = door.gate.contacts["a"]
    assert (seen.requests, seen.bytes_up, seen.address) == (2, 8, "192.0.2.7")
    assert seen.bytes_down > 100


def test_a_message_that_was_lost_on_the_way_is_given_again():
    given = Deliveries()
    assert given.answer("a", b"") == b""
    assert given.answer("a", b"message 1") == b"message 1"
    given.asked("a", "/v1/fleet/send-node-heartbeat")
    assert given.answer("a", b"") == b"message 1"  # it asks again: it has not got it
    assert given.answer("b", b"") == b""
    given.asked("a", "/v1/fleet/activate-node")  # and its process was started again
    assert given.answer("a", b"") == b"message 1"
    given.asked("a", "/v1/fleet/pull-object")  # now it has
    assert given.answer("a", b"") == b""
    assert given.answer("a", b"message 2") == b"message 2"
    assert given.repeated == 2


def test_a_clock_that_is_off_is_named(door):
    roll = NodeList(began=0.0)
    roll.admit(door.federation.nodes)
    now = time.time()
    for off, words in ((600, "600 s behind the"), (-600, "600 s ahead of the")):
        with pytest.raises(Denied) as denied:
            roll.check(door.signers["a"].headers(), now + off)
        assert f"the clock of a is {words} server's" in denied.value.reason
    for off in (4, -4):
        assert roll.check(door.signers["a"].headers(), now + off).name == "a"


def test_what_was_signed_before_the_server_began_is_signed_anew(door):
    roll = NodeList(began=time.time() + 1)
    roll.admit(door.federation.nodes)
    with pytest.raises(Denied) as denied:
        roll.check(door.signers["a"].headers())
    assert (denied.value.status, denied.value.code) == (503, "early")


def test_a_used_signature_is_remembered_as_long_as_it_would_pass(door):
    roll = NodeList(began=0.0)
    roll.admit(door.federation.nodes)
    headers, now = door.signers["a"].headers(), time.time()
    roll.check(headers, now)
    for later in (1, 100, BEHIND - 1):
        with pytest.raises(Denied) as denied:
            roll.check(headers, now + later)
        assert denied.value.code == "replay"
    with pytest.raises(Denied) as denied:
        roll.check(headers, now + BEHIND + 1)
    assert denied.value.code == "clock"
    for second in range(3):
        roll.check(door.signers["b"].headers(), now + second)
    assert len(roll._used) == 4
