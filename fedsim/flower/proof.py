"""What a device's reply proves: that it answers this question, unchanged, by this device, once.

Flower signs a timestamp and nothing else, so fedsim signs what counts.  A question carries the
run, the round, the phase, the client and a random nonce that the server draws for it; the reply
carries them back with a hash of its body, all signed by the key of the device.  The server
keeps a question until it is answered, so a second answer has no question left.

Where the server knows no key, as in a simulation, it asks for no proof.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey as PrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey as PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from flwr.app import Array, ConfigRecord, RecordDict

from fedsim.errors import RunFolderError

__all__ = [
    "Challenge",
    "PrivateKey",
    "PublicKey",
    "challenge_of",
    "fault",
    "key_at",
    "nonce",
    "prove",
    "public_key",
    "with_challenge",
]

QUESTION, PROOF = "question", "proof"
"""The records of a message that hold the question, and of a reply that hold the proof."""

_SCHEMA = "fedsim-reply/1"


@dataclass(frozen=True)
class Challenge:
    """What one message asks, so that one reply can answer it."""

    run: str
    """Of fedsim's run, which outlives a restart of the server."""
    round: int
    turn: int
    """Which exchange of the round it is, from 1: a phase may come several times."""
    phase: str
    client: int
    nonce: str


def nonce() -> str:
    """Return 128 bits that nobody can foresee, in hexadecimal."""
    return secrets.token_hex(16)


def with_challenge(content: RecordDict, question: Challenge) -> RecordDict:
    """Return ``content`` with ``question`` in it; the records are shared, not copied."""
    return RecordDict({**dict(content), QUESTION: ConfigRecord(asdict(question))})


def challenge_of(content: RecordDict) -> Challenge | None:
    """Return the question that a message asks; None where the server is none of fedsim's."""
    record = content.config_records.get(QUESTION)
    return None if record is None else Challenge(**{k: record[k] for k in _FIELDS})  # type: ignore[arg-type]


def prove(content: RecordDict, question: Challenge, key: PrivateKey) -> None:
    """Add to a reply the proof that it answers ``question``."""
    body = _digest(content)
    signature = key.sign(_signed(question, body), ECDSA(hashes.SHA256()))
    content[PROOF] = ConfigRecord({**asdict(question), "sha256": body, "signature": signature})


def fault(content: RecordDict, question: Challenge, key: PublicKey) -> str:
    """Return why a reply is no answer to ``question`` by the holder of ``key``; empty if it is."""
    proof = content.config_records.get(PROOF)
    if proof is None:
        return "refused: the reply is not signed"
    for name in _FIELDS:
        expected, signed_value = getattr(question, name), proof.get(name)
        if signed_value != expected or type(signed_value) is not type(expected):
            what = "another question (a replay)" if name == "nonce" else f"{name} {signed_value!r}"
            return f"refused: the reply is for {what}, asked was {name} {expected!r}"
    body = _digest(content)
    if proof.get("sha256") != body:
        return "refused: the reply's body was changed after it was signed"
    try:
        signature = proof.get("signature")
        if not isinstance(signature, bytes):
            raise InvalidSignature
        key.verify(signature, _signed(question, body), ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return "refused: the reply is not signed by the key that is registered for this device"
    return ""


def key_at(path: Path) -> PrivateKey:
    """Return the private key in ``path``, in OpenSSH's format.

    Raises:
        RunFolderError: if there is none, or it is of another kind.
    """
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} holds no key of a device: {error}") from error
    if not isinstance(key, PrivateKey):
        raise RunFolderError(f"{path} does not hold an elliptic-curve key")
    return key


def public_key(text: str) -> PublicKey:
    """Return the public key in ``text``, one line in OpenSSH's format.

    Raises:
        RunFolderError: if it is none, or of another kind.
    """
    try:
        key = load_ssh_public_key(text.encode())
    except ValueError as error:
        raise RunFolderError(f"{text[:40]!r} is no public key: {error}") from error
    if not isinstance(key, PublicKey):
        raise RunFolderError(f"{text[:40]!r} is not an elliptic-curve key")
    return key


_FIELDS = tuple(field.name for field in fields(Challenge))


def _signed(question: Challenge, body: str) -> bytes:
    return json.dumps([_SCHEMA, *(getattr(question, name) for name in _FIELDS), body]).encode()


def _digest(content: RecordDict) -> str:
    """Return the hash of every record but the proof; each part's length goes before it."""
    digest = hashlib.sha256()
    for name in sorted(content):
        if name == PROOF:
            continue
        record: Any = content[name]
        for part in (type(record).__name__.encode(), name.encode(), len(record).to_bytes(8)):
            digest.update(len(part).to_bytes(8) + part)
        for key in sorted(record):
            for part in (key.encode(), *_parts(record[key])):
                digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


def _parts(value: object) -> Iterable[bytes]:
    if isinstance(value, Array):
        shape = ",".join(map(str, value.shape))
        return value.dtype.encode(), shape.encode(), value.stype.encode(), value.data
    return type(value).__name__.encode(), repr(value).encode()
