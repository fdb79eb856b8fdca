"""A run on three hosts behind a bad network: 5 % loss, 200 ms delay, and cuts of 30 s.

    sudo python benchmarks/edge_network.py [--rounds 10] [--loss 0.05] [--delay 0.2] [--cut 30]

Needs root and Linux.  Server and devices live in network namespaces of their own, and reach each
other through a program that loses and delays IP packets (a TUN device at either end), so that TCP
and TLS see what they would see outside.  Loss is in each direction, delay from device to server.
In round 3 one device is cut off, in round 6 all are.  The result is compared with a simulation.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import heapq
import json
import os
import selectors
import struct
import subprocess
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from edge_parts import FEDSIM, QUIET, Lab, Part

NAMES = ("a", "b", "c")
SERVER, HOST = "fs-server", "10.77.0.1"
_TUNSETIFF, _TUN, _NO_PI, _NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000


def ip(*words: str, inside: str = "") -> None:
    prefix = ["ip", "-n", inside] if inside else ["ip"]
    subprocess.run([*prefix, *words], check=True)


def tun(namespace: str, name: str) -> int:
    """Return the program's end of a new network interface in a namespace."""
    found: list[int] = []

    def make() -> None:
        with Path(f"/run/netns/{namespace}").open() as place:
            if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), _NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _TUN | _NO_PI))
        found.append(descriptor)

    thread = threading.Thread(target=make)  # a thread of its own: its namespace goes with it
    thread.start()
    thread.join()
    return found[0]


@dataclass
class Wire:
    """Passes packets between namespaces, late and not all."""

    loss: float
    delay: float
    cut: set[str] = field(default_factory=set)
    passed: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    _ends: dict[int, tuple[str, int, float]] = field(default_factory=dict)
    _running: bool = True

    def add(self, name: str, address: str) -> None:
        ip("netns", "add", f"fs-{name}")
        ip("link", "set", "lo", "up", inside=f"fs-{name}")
        device, server = tun(f"fs-{name}", "up0"), tun(SERVER, f"to-{name}")
        self._ends[device] = (name, server, self.delay)
        self._ends[server] = (name, device, 0.0)
        ip("addr", "add", f"{address}/32", "dev", "up0", inside=f"fs-{name}")
        ip("link", "set", "up0", "up", inside=f"fs-{name}")
        ip("route", "add", HOST, "dev", "up0", inside=f"fs-{name}")
        ip("link", "set", f"to-{name}", "up", inside=SERVER)
        ip("route", "add", address, "dev", f"to-{name}", inside=SERVER)

    def run(self) -> None:
        generator = np.random.default_rng(7)
        waiting: list[tuple[float, int, int, bytes]] = []
        ready = selectors.DefaultSelector()
        for end in self._ends:
            ready.register(end, selectors.EVENT_READ)
        count = 0
        while self._running:
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, sink, packet = heapq.heappop(waiting)
                os.write(sink, packet)
            patience = min(0.2, waiting[0][0] - now) if waiting else 0.2
            for key, _ in ready.select(max(patience, 0.0)):
                packet = os.read(int(key.fd), 65536)
                name, sink, delay = self._ends[int(key.fd)]
                if name in self.cut or generator.random() < self.loss:
                    self.lost[name] += 1
                    continue
                self.passed[name] += 1
                count += 1
                heapq.heappush(waiting, (time.monotonic() + delay, count, sink, packet))

    def stop(self) -> None:
        self._running = False
        for end in self._ends:
            os.close(end)


def scenario(path: Path, rounds: int) -> Path:
    told = {
        "name": "bad-network",
        "seed": 1,
        "rounds": rounds,
        "data": {"source": "digits", "partition": {"use": "dirichlet", "alpha": 0.3}},
        "model": "mlp",
        "clients": {"count": len(NAMES), "min_replies": 1, "deadline_s": 240},
        "local": {"lr": 0.1, "epochs": 1, "batch_size": 32},
        "strategy": "fedavg",
        "compute": {"backend": "local"},
    }
    path.write_text(yaml.safe_dump(told))
    return path


def rounds_of(folder: Path) -> list[dict[str, object]]:
    path = folder / "rounds.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def cut_on_time(wire: Wire, folder: Path, seconds: float, process: Part) -> None:
    plan = {2: {"b"}, 5: set(NAMES)}  # after so many finished rounds
    while process.process is not None and process.process.poll() is None:
        done = len(rounds_of(folder))
        if done in plan:
            wire.cut = plan.pop(done)
            print(f"after round {done}: {sorted(wire.cut)} cut off for {seconds:g} s", flush=True)
            time.sleep(seconds)
            wire.cut = set()
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--loss", type=float, default=0.05)
    parser.add_argument("--delay", type=float, default=0.2)
    parser.add_argument("--cut", type=float, default=30.0)
    asked = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("network namespaces need root")
    wire = Wire(asked.loss, asked.delay)
    ip("netns", "add", SERVER)
    try:
        ip("link", "set", "lo", "up", inside=SERVER)
        ip("addr", "add", f"{HOST}/32", "dev", "lo", inside=SERVER)
        for number, name in enumerate(NAMES):
            wire.add(name, f"10.77.0.{number + 2}")
        threading.Thread(target=wire.run, daemon=True).start()
        with tempfile.TemporaryDirectory() as folder:
            play(wire, Path(folder), asked.rounds, asked.cut)
    finally:
        wire.stop()
        for name in (SERVER, *(f"fs-{name}" for name in NAMES)):
            subprocess.run(["ip", "netns", "del", name], check=False)


def play(wire: Wire, place: Path, rounds: int, seconds: float) -> None:
    file = scenario(place / "bad.yaml", rounds)
    lab = Lab(place, file, NAMES, host=HOST, port=8443, control=8000)
    run = Part(
        ["run", str(file), "--on", str(place / "fed"), "--run-dir", str(place / "run")],
        place / "run.out",
        ["ip", "netns", "exec", SERVER],
    )
    lab.server.prefix = ["ip", "netns", "exec", SERVER]
    for name in NAMES:
        lab.devices[name].prefix = ["ip", "netns", "exec", f"fs-{name}"]
    try:
        began = time.monotonic()
        lab.start(*NAMES)
        print(f"three devices joined after {time.monotonic() - began:.0f} s", flush=True)
        print(f"a asks for Flower's own port, 8000: {knock('fs-a', 8000)}", flush=True)
        began = time.monotonic()
        run.start()
        cut_on_time(wire, place / "run", seconds, run)
        took = time.monotonic() - began
    finally:
        run.stop()
        lab.stop()
    print("\n".join(run.lines()[-6:]))
    simulated = place / "simulated"
    subprocess.run(
        [*FEDSIM, "run", str(file), "--run-dir", str(simulated), "-q"], env=QUIET, check=True
    )
    tell(wire, rounds_of(place / "run"), rounds_of(simulated), took)
    for name in NAMES:
        print(f"{name}: {'; '.join(lab.devices[name].lines())}")


def knock(namespace: str, port: int) -> str:
    code = f"import socket; socket.create_connection(({HOST!r}, {port}), 10)"
    words = ["ip", "netns", "exec", namespace, FEDSIM[0], "-c", code]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1] if done.returncode else "CONNECTED"


def tell(
    wire: Wire, here: list[dict[str, object]], there: list[dict[str, object]], took: float
) -> None:
    print(f"{len(here)} rounds in {took:.0f} s")
    for one in here:
        print(f"  round {one['round']}: {one['seconds']:.0f} s, dropped {one['dropped']}")
    twice = [one["round"] for one in here if len(set(one["cohort"])) < len(one["cohort"])]  # type: ignore[arg-type]
    print(f"rounds that count a client twice: {twice}")
    equal = sum(
        one["accuracy"] == two["accuracy"] and one["loss"] == two["loss"]
        for one, two in zip(here, there, strict=False)
    )
    print(f"rounds with exactly the simulation's accuracy and loss: {equal} of {len(there)}")
    total = sum(wire.passed.values()) + sum(wire.lost.values())
    print(f"packets: {total}, lost {sum(wire.lost.values()) / max(total, 1):.1%}")


if __name__ == "__main__":
    main()
