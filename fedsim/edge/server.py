"""The server of a federation: Flower's on the loopback interface, and the gate before it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import uvicorn

from fedsim.edge.federation import Federation, flwr
from fedsim.edge.gate import DeviceContact, Gate
from fedsim.edge.link import FlowerLink
from fedsim.edge.pki import days_left, make_server_certificate
from fedsim.errors import Refused, RunError
from fedsim.runlog import files, lock

__all__ = ["SEEN", "Listening", "serve", "settle"]

SEEN = "seen.json"
"""In the server's folder: what the gate knows of every node, for ``fedsim edge status``."""
_RENEW_DAYS = 30
_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Before Flower's server is started again, after it has died once, twice, and so on."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Listening:
    """Where the server listens."""

    gate: str = "0.0.0.0"
    """The interface that devices connect to."""
    control: str = "127.0.0.1"
    """That of Flower's server, which obeys whoever reaches it: a loopback one."""

    def __post_init__(self) -> None:
        """Refuse to show Flower's server to others.

        Raises:
            Refused: if ``control`` is not a loopback address.
        """
        try:
            is_loopback = ipaddress.ip_address(self.control).is_loopback
        except ValueError:
            is_loopback = self.control == "localhost"
        if not is_loopback:
            raise Refused(
                f"Flower's control API asks for no password, and {self.control} is no loopback "
                "address: whoever reached it could run code on the server and on every device"
            )


def serve(federation: Federation, listening: Listening, tell: Tell) -> None:
    """Serve the federation until SIGTERM or Ctrl-C.

    Flower's server is started again where it dies; devices find it again by themselves.

    Args:
        federation: whose server.
        listening: where.
        tell: is called with a line for each thing that happens.

    Raises:
        RunFolderError: if this federation is being served already.
        RunError: if Flower's server does not start.
    """
    folder = federation.path / "server"
    with lock.hold(folder), _door(listening.gate, federation.port) as door:
        _renew(federation, tell)
        link = FlowerLink(federation, listening.control)
        try:
            link.start()
            link.wait()
            federation = settle(federation, tell)
            asyncio.run(_serve(federation, door, link, tell))
        finally:
            link.end()
            tell("stopped")


def settle(federation: Federation, tell: Tell) -> Federation:
    """Make Flower's server know the federation's keys, and no revoked one; return it with ids.

    Raises:
        FedsimError: if Flower's server refuses a key.
    """
    connection = federation.connection().name
    listed = flwr(federation, "supernode", "list", connection)["nodes"]
    contacts = {
        node["node-id"] for node in listed if node["status"] not in ("unregistered", "deleted")
    }
    for node in federation.nodes:
        if node.revoked and str(node.node_id) in contacts:
            flwr(federation, "supernode", "unregister", str(node.node_id), connection)
        if node.revoked or str(node.node_id) in contacts:
            continue
        public = federation.path / "server" / "node.pub"
        files.write(public, f"{node.public_key}\n")
        done = flwr(federation, "supernode", "register", str(public), connection)
        # Read anew: somebody may have revoked a node in the meantime.
        federation = Federation.load(federation.path)
        known_as = replace(federation.node(node.name), node_id=int(done["node-id"]))
        federation = federation.with_node(known_as)
        federation.write()
        tell(f"registered {node.name}")
    return federation


def _door(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise RunError(f"cannot listen on {host} port {port}: {error.strerror}") from error


def _renew(federation: Federation, tell: Tell) -> None:
    folder = federation.path / "server"
    if days_left(folder / "server.crt") < _RENEW_DAYS:
        make_server_certificate(federation.path / "ca", folder, [federation.host])
        tell("the server's certificate was renewed")


async def _serve(federation: Federation, door: socket.socket, link: FlowerLink, tell: Tell) -> None:
    folder = federation.path / "server"
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2.0)
    upstream = httpx.AsyncClient(
        base_url=link.base, verify=link.trust, timeout=60.0, limits=limits, trust_env=False
    )
    async with upstream:
        gate = Gate(federation, upstream, contacts=_recalled(folder))
        config = uvicorn.Config(
            gate,
            ssl_certfile=folder / "server.crt",
            ssl_keyfile=folder / "server.key",
            log_level="critical",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
        )
        server = uvicorn.Server(config)
        async with _beside(_keep(server, link, tell), _remember(gate, folder), _say(server, tell)):
            with _signals(server):
                await server.serve(sockets=[door])
        files.write(folder / SEEN, gate.contacts)


async def _keep(server: uvicorn.Server, link: FlowerLink, tell: Tell) -> None:
    """Start Flower's server again whenever it dies."""
    for pause in _PAUSES:
        while not link.is_dead():
            await asyncio.sleep(1.0)
        tell(f"Flower's server died; it is started again in {pause:.0f} s")
        await asyncio.sleep(pause)
        link.start()
    while not link.is_dead():
        await asyncio.sleep(1.0)
    tell("Flower's server died too often")
    server.should_exit = True


async def _remember(gate: Gate, folder: Path) -> None:
    saved = None
    while True:
        await asyncio.sleep(5.0)
        contacts = files.plain(gate.contacts)
        if contacts != saved:
            files.write(folder / SEEN, contacts)
            saved = contacts


def _recalled(folder: Path) -> dict[str, DeviceContact]:
    """Return what was known of the nodes when the server ended."""
    try:
        saved = json.loads((folder / SEEN).read_text(encoding="utf-8"))
        return {name: DeviceContact(**contact) for name, contact in saved.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


async def _say(server: uvicorn.Server, tell: Tell) -> None:
    while not server.started:
        await asyncio.sleep(0.05)
    tell("ready")


@contextlib.asynccontextmanager
async def _beside(*instructions: object) -> AsyncIterator[None]:
    running = [asyncio.ensure_future(instruction) for instruction in instructions]  # type: ignore[call-overload]
    try:
        yield
    finally:
        for instruction in running:
            instruction.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@contextlib.contextmanager
def _signals(server: uvicorn.Server) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the web server, and nothing more: the rest ends in turn."""

    def stop(number: int, frame: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
