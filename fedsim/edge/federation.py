"""The folder of a federation: who belongs to it, where its server is, and its keys.

::

    DIR/federation.json  scenario.yaml
        ca/{ca.crt,ca.key}
        server/{server.crt,server.key,state.db,seen.json,superlink.log,flwr/}
        bundles/NAME/  bundles/NAME.tar.gz

Files that hold a secret can be read by their owner alone (0600), as can folders (0700).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedsim.edge.commands import answer, surroundings
from fedsim.errors import RunFolderError
from fedsim.runlog import files

__all__ = ["FILE", "SCHEMA", "Connection", "DeviceNode", "Federation", "flwr"]

FILE = "federation.json"
SCHEMA = "fedsim-edge/1"


@dataclass(frozen=True)
class DeviceNode:
    """A device of the federation."""

    name: str
    client: int
    """Which client of the scenario it is, from 0: Flower's ``partition-id``."""
    public_key: str
    """In OpenSSH's form, one line."""
    node_id: int | None = None
    """How Flower calls it; None until the server has registered its key."""
    revoked: bool = False


@dataclass(frozen=True)
class Connection:
    """What it takes to speak to the federation's server as its operator."""

    name: str
    """Of the connection in Flower's configuration: the word to give to ``flwr run DIR NAME``."""
    environment: Mapping[str, str]
    """Of the process that speaks: the whole environment, this process's own included."""


@dataclass(frozen=True)
class Federation:
    """A federation as its folder holds it."""

    path: Path
    name: str
    host: str
    """By which devices reach the server: a name or an address, in the certificate."""
    nodes: tuple[DeviceNode, ...]
    versions: Mapping[str, str]
    """Of python, fedsim, flwr and torch where the folder was made: what bundles pin."""
    port: int = 8443
    """What devices connect to: the gate in front of Flower's server."""
    control_port: int = 8000
    """Flower's server itself, on the loopback interface only."""

    @classmethod
    def load(cls, path: Path | str) -> Federation:
        """Return the federation in the folder ``path``.

        Raises:
            RunFolderError: if there is none, or its file is damaged.
        """
        path = Path(path).absolute()
        try:
            saved = json.loads((path / FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            hint = "fedsim edge init makes one"
            raise RunFolderError(f"{path} holds no federation ({FILE} is absent): {hint}") from None
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{path / FILE} cannot be read: {error}") from error
        if saved.get("schema") != SCHEMA:
            raise RunFolderError(f"{path / FILE}: schema is {saved.get('schema')!r}, not {SCHEMA}")
        try:
            nodes = tuple(DeviceNode(**node) for node in saved["nodes"])
            return cls(
                path=path,
                nodes=nodes,
                **{key: saved[key] for key in ("name", "host", "versions", "port", "control_port")},
            )
        except (KeyError, TypeError) as error:
            raise RunFolderError(f"{path / FILE} is damaged: {error}") from error

    def write(self) -> None:
        """Write ``federation.json``, whole or not at all."""
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.name,
            "host": self.host,
            "port": self.port,
            "control_port": self.control_port,
            "nodes": self.nodes,
            "versions": self.versions,
        }
        files.write(self.path / FILE, content)

    @property
    def ca_certificate(self) -> Path:
        """The certificate that devices and the operator trust."""
        return self.path / "ca" / "ca.crt"

    @property
    def home(self) -> Path:
        """The folder of Flower's own files: of the operator's commands and of the server."""
        return self.path / "server" / "flwr"

    @property
    def scenario(self) -> Path:
        """The scenario's file, with nothing implicit left in it."""
        return self.path / "scenario.yaml"

    @property
    def active(self) -> tuple[DeviceNode, ...]:
        """The nodes that are not revoked."""
        return tuple(node for node in self.nodes if not node.revoked)

    def node(self, name: str) -> DeviceNode:
        """Return the node that is called ``name``.

        Raises:
            RunFolderError: if there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        devices = ", ".join(node.name for node in self.nodes)
        raise RunFolderError(f"{self.path} has no node {name!r}: its nodes are {devices}")

    def with_node(self, changed: DeviceNode) -> Federation:
        """Return the federation with the node of this name changed."""
        nodes = (changed if node.name == changed.name else node for node in self.nodes)
        return replace(self, nodes=tuple(nodes))

    def connection(self) -> Connection:
        """Return how to speak to the server with Flower's own commands.

        Writes Flower's configuration first, since the folder may have been moved.
        """
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = (
            '[superlink]\ndefault = "fedsim"\n\n[superlink.fedsim]\n'
            f'address = "127.0.0.1:{self.control_port}"\n'
            f"root-certificates = {json.dumps(str(self.ca_certificate))}\n"
        )
        config = self.home / "config.toml"
        if not config.is_file() or config.read_text(encoding="utf-8") != text:
            files.write(config, text)
        return Connection("fedsim", surroundings(self.home))


def flwr(federation: Federation, *words: str) -> dict[str, Any]:
    """Run one of Flower's commands against the federation's server and return its answer.

    ``--format json`` is added here; the name of the connection is for the caller to place,
    since each command has it elsewhere: ``flwr(it, "list", it.connection().name)``.

    Raises:
        FedsimError: if the command says that it failed, with its reason.
    """
    return answer(list(words), federation.connection().environment)
