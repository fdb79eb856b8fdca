"""What the server refuses, and what it says: certificates, keys, replays, the control API.

    python benchmarks/edge_refusals.py

A real server with Flower's behind it, on this machine.  The attacker has the federation's
authority certificate, and, for the replays, sees what a device sends.
"""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
from edge_parts import FEDSIM, QUIET, Lab
from edge_restarts import SCENARIO

from fedsim.edge.bundle import Bundle
from fedsim.edge.federation import Federation
from fedsim.edge.gate import FLEET
from fedsim.edge.pki import make_authority, make_node_key, make_server_certificate
from fedsim.edge.reach import _protobuf_id, register
from fedsim.edge.signing import Signer
from fedsim.errors import FedsimError


def told(act: Callable[[], object]) -> str:
    try:
        return f"ACCEPTED: {act()}"
    except FedsimError as error:
        return f"{type(error).__name__}: {error}"


def join(bundle: Path) -> str:
    words = [*FEDSIM, "edge", "join", str(bundle), "--data", "scenario"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, env=QUIET, timeout=30)
    except subprocess.TimeoutExpired as error:
        return f"still trying: {(error.stdout or b'').decode().strip()}"
    return f"exit {done.returncode}: {(done.stdout + done.stderr).strip()}"


def certificates(lab: Lab, fed: Federation) -> None:
    """Serve the same folder with each wrong certificate in turn."""
    server, bundle = fed.path / "server", lab.folder / "a" / "a.tar.gz"
    good = {name: (server / name).read_bytes() for name in ("server.crt", "server.key")}
    make_authority(lab.folder / "ca2", fed.name)
    wrong = {
        "wrong authority": lambda: make_server_certificate(lab.folder / "ca2", server, [fed.host]),
        "expired": lambda: make_server_certificate(fed.path / "ca", server, [fed.host], days=-1),
    }
    for name, make in wrong.items():
        make()
        with gate_alone(fed):
            print(f"TLS, {name}: {join(bundle)}")
    for name, content in good.items():
        (server / name).write_bytes(content)
    other = lab.folder / "other-host"
    shutil.copytree(fed.path / "bundles" / "a", other)
    text = json.loads((other / "bundle.json").read_text()) | {"host": "127.0.0.2"}
    (other / "bundle.json").write_text(json.dumps(text))
    with gate_alone(fed, "127.0.0.2"):
        print(f"TLS, wrong host: {join(other)}")
    handler = http.server.BaseHTTPRequestHandler
    with http.server.HTTPServer(("127.0.0.1", fed.port), handler) as plain:
        threading.Thread(target=plain.handle_request).start()
        print(f"TLS, plain HTTP server: {join(bundle)}")
    with gate_alone(fed):
        try:
            url = f"http://127.0.0.1:{fed.port}/v1/fleet/pull-messages"
            print(f"TLS, plain HTTP client: {httpx.post(url, trust_env=False)}")
        except httpx.TransportError as error:
            print(f"TLS, plain HTTP client: {type(error).__name__}: {error}")


class gate_alone:
    """The gate with whatever certificate lies in the folder, and nothing behind it."""

    def __init__(self, fed: Federation, address: str = "127.0.0.1") -> None:
        code = (
            "import asyncio, socket, sys, httpx, uvicorn\n"
            "from fedsim.edge.federation import Federation\n"
            "from fedsim.edge.gate import Gate\n"
            "fed = Federation.load(sys.argv[1])\n"
            "folder = fed.path / 'server'\n"
            "up = httpx.AsyncClient(base_url='https://127.0.0.1:1')\n"
            "config = uvicorn.Config(Gate(fed, up), lifespan='off', log_level='critical',\n"
            "    ssl_certfile=folder / 'server.crt', ssl_keyfile=folder / 'server.key')\n"
            "door = socket.create_server((sys.argv[2], fed.port))\n"
            "print('ready', flush=True)\n"
            "asyncio.run(uvicorn.Server(config).serve([door]))\n"
        )
        self._words = [FEDSIM[0], "-c", code, str(fed.path), address]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._words, stdout=subprocess.PIPE, env=QUIET)
        if self._process.stdout is not None:
            self._process.stdout.readline()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def keys(lab: Lab, fed: Federation) -> None:
    for name in ("unknown", "garbage", "of-b"):
        shutil.copytree(fed.path / "bundles" / "a", lab.folder / name)
    make_node_key(lab.folder / "unknown")
    print(f"key, unknown: {join(lab.folder / 'unknown')}")
    (lab.folder / "garbage" / "node.key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n")
    print(f"key, garbage: {join(lab.folder / 'garbage')}")
    subprocess.run(
        [*FEDSIM, "edge", "revoke", str(fed.path), "c", "--quiet"], env=QUIET, check=True
    )
    print(f"key, revoked while joined: {'; '.join(_until_end(lab))}")
    mine, other = (Signer(fed.path / "bundles" / name / "node.key").headers() for name in "ab")
    mixed = mine | {"flwr-public-key": other["flwr-public-key"]}
    answer = post(fed, "/v1/fleet/pull-messages", mixed, b"")
    print(f"key, a's signature under b's key: {answer.status_code} {answer.json()['detail']}")
    fed = Federation.load(fed.path)
    node_id = fed.node("b").node_id or 0
    inner = b"\x0a" + bytes([len(_protobuf_id(node_id))]) + _protobuf_id(node_id)
    mine = Signer(fed.path / "bundles" / "a" / "node.key").headers()
    answer = post(fed, "/v1/fleet/pull-messages", mine, inner)
    print(f"key, a asks for b's messages: {answer.status_code} {answer.text}")


def _until_end(lab: Lab) -> list[str]:
    process = lab.devices["c"].process
    if process is not None:
        process.wait(60)
        return [*lab.devices["c"].lines(), f"exit {process.returncode}"]
    return []


def post(fed: Federation, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
    return httpx.post(
        f"https://127.0.0.1:{fed.port}{path}",
        headers={"content-type": "application/protobuf", **headers},
        content=body,
        verify=str(fed.ca_certificate),
        trust_env=False,
    )


def replays(lab: Lab, fed: Federation) -> None:
    """Show one captured request of a living device again, as it was and otherwise."""
    fed = Federation.load(fed.path)
    node_id = fed.node("a").node_id or 0
    inner = b"\x0a" + bytes([len(_protobuf_id(node_id))]) + _protobuf_id(node_id)
    signer = Signer(fed.path / "bundles" / "a" / "node.key")
    captured = signer.headers()
    first = post(fed, "/v1/fleet/pull-messages", captured, inner)
    print(f"replay, the request itself: {first.status_code}, {len(first.content)} bytes")
    routes = sorted(FLEET)
    counts: Counter[str] = Counter()
    for number in range(100):
        if number % 2:  # the same request again
            again = post(fed, "/v1/fleet/pull-messages", captured, inner)
        else:  # the same headers over another body, on every route
            path = routes[number // 2 % len(routes)]
            body = _protobuf_id(node_id) + bytes([0x10, number])
            again = post(fed, path, captured, body)
        counts[f"{again.status_code} {again.json()['detail']}"] += 1
    for answer, count in counts.items():
        print(f"replay, {count} of 100: {answer}")
    direct = Counter(
        post(
            replace(fed, port=fed.control_port), "/v1/fleet/pull-messages", captured, inner
        ).status_code
        for _ in range(20)
    )
    print(f"replay, the same 20 times to Flower's own port, without the gate: {dict(direct)}")
    print(f"replay, a is {lab.states()['a']} still")


def control(fed: Federation) -> None:
    signer = Signer(fed.path / "bundles" / "a" / "node.key")
    for path in (
        "control/start-run",
        "control/register-node",
        "control/list-nodes",
        "runtime/acquire-task",
        "fleet/register-node",
        "fleet/../control/start-run",
    ):
        answer = post(fed, f"/v1/{path}", signer.headers(), b"")
        print(f"control, POST /v1/{path}: {answer.status_code} {answer.json()['detail']}")
    words = [*FEDSIM, "edge", "server", str(fed.path), "--control", "0.0.0.0"]
    done = subprocess.run(words, capture_output=True, text=True, env=QUIET)
    print(f"control, on 0.0.0.0: exit {done.returncode}: {done.stderr.strip()}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), SCENARIO, ["a", "b", "c"], port=18743, control=18300)
        fed = Federation.load(lab.folder / "fed")
        certificates(lab, fed)
        try:
            lab.start("a", "c")
            print(f"good: {told(lambda: register(Bundle.load(fed.path / 'bundles' / 'a')))}")
            keys(lab, fed)
            replays(lab, fed)
            control(fed)
        finally:
            lab.stop()


if __name__ == "__main__":
    main()
