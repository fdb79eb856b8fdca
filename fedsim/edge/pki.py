"""Keys and certificates: an authority, the server's certificate, and one key for each node."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedsim.errors import RunFolderError

__all__ = [
    "days_left",
    "load_key",
    "make_authority",
    "make_folder",
    "make_node_key",
    "make_server_certificate",
    "public_pem",
    "write_private",
]

_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 397
"""The most that strict clients accept of a server's certificate; the server renews it itself."""
_EARLIER = timedelta(hours=1)
"""Certificates begin in the past, for devices whose clock is behind."""


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)  # where the file was there before
        file.write(content)


def make_folder(path: Path) -> Path:
    """Make a folder that only its owner may enter, and return it."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def make_authority(folder: Path, name: str) -> None:
    """Make ``ca.key`` and ``ca.crt``: what signs the server's certificate, and is trusted."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _named(f"fedsim {name}")
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _begin(_AUTHORITY_DAYS)
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    make_folder(folder)
    write_private(folder / "ca.key", _pkcs8(key))
    (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def make_server_certificate(
    authority: Path, folder: Path, hosts: Sequence[str], days: float = _SERVER_DAYS
) -> None:
    """Make ``server.key`` and ``server.crt``, signed by the authority.

    Args:
        authority: the folder of ``ca.key`` and ``ca.crt``.
        folder: where the two files are made.
        hosts: names and addresses by which the server is reached; those of the loopback
            interface are added, since the operator reaches it there.
        days: how long it is valid; below 0 it has expired already, which tests ask for.
    """
    issuer = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes())
    key = ec.generate_private_key(ec.SECP384R1())
    every = dict.fromkeys([*hosts, "localhost", "127.0.0.1", "::1"])
    issuer_key = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _begin(days)
        .subject_name(_named(hosts[0][:64]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general(host) for host in every]), False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), False
        )
        .sign(load_key(authority / "ca.key"), hashes.SHA384())
    )
    make_folder(folder)
    write_private(folder / "server.key", _pkcs8(key))
    (folder / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def make_node_key(folder: Path) -> str:
    """Make ``node.key`` and ``node.pub`` as Flower asks for them; return the public one's line."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    write_private(folder / "node.key", private)
    (folder / "node.pub").write_bytes(public + b"\n")
    return public.decode()


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the private key in the file.

    Raises:
        RunFolderError: if it cannot be read, is no key, or others than its owner may read it.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise RunFolderError(f"{path} can be read by others: chmod 600 {path}")
        data = path.read_bytes()
        read = (
            serialization.load_ssh_private_key
            if b"OPENSSH PRIVATE KEY" in data
            else serialization.load_pem_private_key
        )
        key = read(data, None)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunFolderError(f"{path} holds no private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise RunFolderError(f"{path} does not hold an elliptic-curve key")
    return key


def public_pem(line: str) -> bytes:
    """Return a public key of OpenSSH's form as Flower sends it: PEM."""
    key = serialization.load_ssh_public_key(line.encode())
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def days_left(certificate: Path) -> float:
    """Return for how many days the certificate is still valid; below 0 it has expired.

    Raises:
        RunFolderError: if the file holds no certificate.
    """
    try:
        ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{certificate} holds no certificate: {error}") from error
    return (ends - datetime.now(UTC)) / timedelta(days=1)


def _begin(days: float) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    ends = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends) - _EARLIER)
        .not_valid_after(ends)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pkcs8(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
