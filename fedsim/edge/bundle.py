"""What one device is given: where the server is, whom to trust, its key, and how to install.

::

    bundle.json  ca.crt  node.key  node.pub  scenario.yaml
    requirements.txt  fedsim-edge.service  Containerfile  README.md

A bundle is a folder, or the same folder as ``.tar.gz``.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedsim.errors import RunFolderError

__all__ = ["FILE", "SCHEMA", "Bundle"]

FILE = "bundle.json"
SCHEMA = "fedsim-bundle/1"
_MOST_BYTES = 16 << 20
"""Of a bundle's file; none is larger than a few kilobytes."""


@dataclass(frozen=True)
class Bundle:
    """A device's bundle, unpacked."""

    path: Path
    federation: str
    node: str
    client: int
    """Which client of the scenario the device is, from 0."""
    clients: int
    """How many the federation has."""
    host: str
    port: int
    versions: Mapping[str, str]
    """Of python, fedsim, flwr and torch at the server: what the device should have."""

    @classmethod
    def load(cls, path: Path | str) -> Bundle:
        """Return the bundle in the folder or the ``.tar.gz`` file ``path``.

        A file is unpacked beside itself first, unless that was done before.

        Raises:
            RunFolderError: if it is none, or is damaged.
        """
        path = Path(path).absolute()
        if path.is_file():
            path = _unpacked(path)
        try:
            saved = json.loads((path / FILE).read_text(encoding="utf-8"))
            if saved.pop("schema") != SCHEMA:
                raise RunFolderError(f"{path / FILE} is not of schema {SCHEMA}")
            return cls(path=path, **saved)
        except FileNotFoundError:
            raise RunFolderError(f"{path} is no bundle: {FILE} is absent") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunFolderError(f"{path / FILE} is damaged: {error}") from error

    @property
    def address(self) -> str:
        """The server's address as ``host:port``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def ca_certificate(self) -> Path:
        """The certificate that the server's must be signed by."""
        return self.path / "ca.crt"

    @property
    def key(self) -> Path:
        """The device's private key."""
        return self.path / "node.key"

    @property
    def scenario(self) -> Path:
        """The scenario's file."""
        return self.path / "scenario.yaml"

    @property
    def home(self) -> Path:
        """The folder of Flower's own files, and of what the device keeps between rounds."""
        return self.path / "state"


def _unpacked(archive: Path) -> Path:
    folder = archive.parent / archive.name.removesuffix(".gz").removesuffix(".tar")
    if (folder / FILE).is_file():
        return folder
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if not (member.isreg() or member.isdir()) or member.size > _MOST_BYTES:
                    raise RunFolderError(f"{archive} is no bundle: {member.name} is out of place")
                tar.extract(member, archive.parent, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise RunFolderError(f"{archive} is no bundle: {error}") from error
    if not (folder / FILE).is_file():
        raise RunFolderError(f"{archive} is no bundle: it has no {folder.name}/{FILE}")
    folder.chmod(0o700)
    return folder
