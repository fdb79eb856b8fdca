"""How a device proves who it is: Flower's signature over a time, made and checked.

Flower signs a timestamp only, and accepts it for five minutes as often as it is shown: whoever
sees one request could send others.  :class:`NodeList` accepts each once.  What cannot be told apart
are a timestamp's several valid signatures, so it remembers key and timestamp, not signatures.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedsim.edge.federation import DeviceNode
from fedsim.edge.pki import load_key, public_pem

__all__ = ["AHEAD", "BEHIND", "Denied", "NodeList", "Signer"]

KEY, TIME, SIGNATURE = "flwr-public-key", "flwr-timestamp", "flwr-signature"
AHEAD, BEHIND = 5.0, 305.0
"""How many seconds a device's clock may be ahead, or a request's signature old: Flower's own."""


@dataclass(frozen=True)
class Denied(Exception):
    """A request that is not let through."""

    status: int
    """Of the answer; 503 where an honest device should simply ask again."""
    code: str
    """One word for programs."""
    reason: str
    """One line for people."""


class Signer:
    """A device's private key at work."""

    def __init__(self, key: Path) -> None:
        self._key = load_key(key)
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._public = base64.b64encode(public).decode()

    def headers(self) -> dict[str, str]:
        """Return the headers of one request, signed now."""
        now = datetime.now(UTC).isoformat()
        signature = self._key.sign(now.encode(), ec.ECDSA(hashes.SHA256()))
        return {
            KEY: self._public,
            TIME: now,
            SIGNATURE: base64.b64encode(signature).decode(),
        }


@dataclass
class NodeList:
    """Who belongs to the federation, and which of their signatures were used."""

    began: float = field(default_factory=time.time)
    """Signatures from before are refused: whether they were used is not remembered."""
    _nodes: dict[bytes, tuple[DeviceNode, ec.EllipticCurvePublicKey]] = field(default_factory=dict)
    _used: dict[tuple[int, str], float] = field(default_factory=dict)

    def admit(self, nodes: tuple[DeviceNode, ...]) -> None:
        """Take ``nodes`` as the federation's from now on."""
        self._nodes = {}
        for node in nodes:
            pem = public_pem(node.public_key)
            key = serialization.load_pem_public_key(pem)
            if isinstance(key, ec.EllipticCurvePublicKey):
                self._nodes[pem] = (node, key)

    def check(self, headers: Mapping[str, str], now: float | None = None) -> DeviceNode:
        """Return the node that signed the request, now and for the first time.

        Args:
            headers: of the request, names in lower case.
            now: seconds since 1970; by default what the clock says.

        Raises:
            Denied: if nobody of the federation did, or not now, or not for the first time.
        """
        now = time.time() if now is None else now
        public, timestamp, signature = _read(headers)
        node, key = self._nodes.get(public, (None, None))
        if node is None or key is None:
            raise Denied(401, "unknown", "this key does not belong to the federation")
        try:
            key.verify(signature, timestamp.encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise Denied(401, "signature", f"the signature is not {node.name}'s") from None
        if node.revoked:
            raise Denied(401, "revoked", f"the key of {node.name} was revoked")
        self._once(node, timestamp, now)
        return node

    def _once(self, node: DeviceNode, timestamp: str, now: float) -> None:
        signed = _seconds(timestamp)
        age = now - signed
        if not -AHEAD < age < BEHIND:
            ahead = "behind" if age > 0 else "ahead of"
            clocks = f"the clock of {node.name} is {abs(age):.0f} s {ahead} the server's"
            raise Denied(401, "clock", f"{clocks}: set it by NTP")
        if signed < self.began:
            raise Denied(503, "early", "signed before this server started: sign again")
        if self._used and next(iter(self._used.values())) < now - BEHIND - AHEAD:
            self._used = {k: at for k, at in self._used.items() if at >= now - BEHIND - AHEAD}
        if (node.client, timestamp) in self._used:
            raise Denied(
                503, "replay", f"a request of {node.name} was sent a second time (a replay)"
            )
        self._used[node.client, timestamp] = now


def _read(headers: Mapping[str, str]) -> tuple[bytes, str, bytes]:
    try:
        public = base64.b64decode(headers[KEY], validate=True)
        signature = base64.b64decode(headers[SIGNATURE], validate=True)
        timestamp = headers[TIME]
    except (KeyError, binascii.Error, ValueError):
        raise Denied(401, "unsigned", "the request is not signed by a node's key") from None
    if not timestamp.isascii() or len(timestamp) > 64:
        raise Denied(401, "unsigned", "the request's timestamp is not valid")
    return public, timestamp, signature


def _seconds(timestamp: str) -> float:
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except (ValueError, OverflowError):
        raise Denied(401, "clock", "the request's timestamp is not valid") from None
