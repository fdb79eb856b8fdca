"""A device calls its server: the reply, or in one line why the call failed."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any

import httpx

from fedsim.edge.bundle import Bundle
from fedsim.edge.gate import GREETING
from fedsim.edge.pki import days_left
from fedsim.edge.signing import Signer
from fedsim.errors import FedsimError, Refused, Unreachable

__all__ = ["Registration", "leave", "register"]

_SECONDS = 15.0
_NOT_YET, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64
"""OpenSSL's numbers for what is wrong with a certificate; all others mean an unknown signer."""
_PLAIN = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
_TEMPORARY = ("clock", "early", "replay", "server")
"""What the gate says that may be otherwise the next time."""


@dataclass(frozen=True)
class Registration:
    """What the server says to a device that it knows."""

    federation: str
    node: str
    client: int
    node_id: str | None
    """As Flower calls it; None while the server is still registering."""
    skew: float
    """By how many seconds the device's clock is ahead of the server's."""
    versions: dict[str, str]
    """What the server's packages are."""
    busy: float = 0.0
    """For how many seconds Flower's server still takes this device to be there, and refuses it."""


def register(bundle: Bundle) -> Registration:
    """Call the bundle's server once.

    Raises:
        Refused: if the server cannot be trusted, or does not take this device.
        Unreachable: if it does not answer, or may do so later.
    """
    began = time.time()
    welcome = _ask(bundle, "GET", GREETING)
    ended = time.time()
    return Registration(
        federation=str(welcome["federation"]),
        node=str(welcome["node"]),
        client=int(welcome["client"]),
        node_id=welcome["node_id"],
        skew=(began + ended) / 2 - float(welcome["time"]),
        busy=float(welcome.get("busy", 0.0)),
        versions=dict(welcome["versions"]),
    )


def leave(bundle: Bundle, node_id: str) -> None:
    """Tell Flower's server that this device went, so that it may come again at once.

    Flower believes a device that was killed to be there for a minute, and refuses it meanwhile.

    Raises:
        Refused: as of :func:`register`.
        Unreachable: as of :func:`register`.
    """
    _ask(bundle, "POST", "/v1/fleet/deactivate-node", _protobuf_id(int(node_id)))


def _protobuf_id(node_id: int) -> bytes:
    """Return a message of protobuf's whose first field is ``node_id``, a varint."""
    digits = bytearray(b"\x08")
    while node_id > 0x7F:
        digits.append(node_id & 0x7F | 0x80)
        node_id >>= 7
    return bytes([*digits, node_id])


def _ask(bundle: Bundle, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    where = f"{bundle.host} port {bundle.port}"
    headers = Signer(bundle.key).headers()
    if body is not None:
        headers["content-type"] = "application/protobuf"
    try:
        trust = ssl.create_default_context(cafile=str(bundle.ca_certificate))
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"{bundle.ca_certificate} holds no certificate: {error}") from error
    try:
        with httpx.Client(verify=trust, timeout=_SECONDS, trust_env=False) as client:
            url = f"https://{bundle.address}{path}"
            response = client.request(method, url, headers=headers, content=body)
    except httpx.TransportError as error:
        raise _in_words(error, bundle, where) from error
    if response.status_code == 200:
        return {} if body is not None else dict(response.json())
    raise _refusal(response, bundle, where)


def _refusal(response: httpx.Response, bundle: Bundle, where: str) -> FedsimError:
    try:
        answer = response.json()
        reason, code = str(answer["detail"]), str(answer.get("extra", "")).removeprefix("fedsim: ")
    except (ValueError, KeyError, TypeError, AttributeError):
        reason, code = f"answer {response.status_code}", ""
    if code in ("unknown", "signature"):
        fit = "is the bundle of this federation, and the newest?"
        return Refused(f"{where} does not know the key of {bundle.node}: {fit}")
    if code == "revoked":
        return Refused(f"{where} refuses {bundle.node}: its key was revoked")
    if code in _TEMPORARY or response.status_code >= 500 or not code:
        return Unreachable(f"{where} refuses {bundle.node} for now: {reason}")
    return Refused(f"{where} refuses {bundle.node}: {reason}")


def _in_words(error: httpx.TransportError, bundle: Bundle, where: str) -> FedsimError:
    cause = _root(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _certificate(cause, bundle, where)
    if isinstance(cause, ssl.SSLError) and str(cause.reason) in _PLAIN:
        return Refused(f"{where} speaks plain HTTP, not TLS: is this the port of fedsim's server?")
    if isinstance(cause, ssl.SSLError):
        return Unreachable(f"{where} ends the TLS handshake: {cause.reason or cause}")
    if isinstance(cause, socket.gaierror):
        return Unreachable(f"no address is known for {bundle.host}: is the name right, and DNS up?")
    if isinstance(cause, ConnectionRefusedError):
        return Unreachable(f"cannot reach {where} (connection refused): is the server up?")
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(f"no answer from {where} in {_SECONDS:.0f} s: network or firewall?")
    return Unreachable(f"cannot reach {where}: {cause or type(error).__name__}")


def _certificate(error: ssl.SSLCertVerificationError, bundle: Bundle, where: str) -> FedsimError:
    if error.verify_code == _NOT_YET:
        # A device without a battery for its clock begins in the past until NTP has set it.
        return Unreachable(f"the certificate of {where} begins in the future: set the clock by NTP")
    if error.verify_code == _EXPIRED and days_left(bundle.ca_certificate) > 0:
        again = "restart its server, which renews it; or is this device's clock ahead?"
        return Refused(f"the certificate of {where} has expired: {again}")
    if error.verify_code == _EXPIRED:
        return Refused(f"the authority of {bundle.federation} has expired: make a new federation")
    if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        return Refused(f"the certificate of {where} is for another host than {bundle.host}")
    return Refused(
        f"the certificate of {where} is not signed by this federation's authority (ca.crt): "
        "another server, or a man in the middle"
    )


def _root(error: BaseException) -> BaseException:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error
