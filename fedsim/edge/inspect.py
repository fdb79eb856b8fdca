"""``fedsim edge join --check``: everything that can be wrong before a run, one line each."""

from __future__ import annotations

import resource
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING

from fedsim.edge.bundle import Bundle
from fedsim.edge.reach import Registration, register
from fedsim.errors import FedsimError
from fedsim.scenario.load import load

if TYPE_CHECKING:
    from fedsim.strategy import Strategy
    from fedsim.worker.worker import Worker

__all__ = ["DeviceCheck", "inspect"]

_SKEW_S = 4.0
"""How far a clock may be off: Flower accepts a signature from 5 s in the future at most."""

_DAYS = 14


@dataclass(frozen=True)
class DeviceCheck:
    """One thing that was looked at."""

    what: str
    is_well: bool
    text: str
    """What was found, or what is wrong and what to do."""


def inspect(bundle: Bundle, data: str) -> list[DeviceCheck]:
    """Look at the server, the clock, the certificate, the versions and the data; join nothing.

    Args:
        bundle: the device's.
        data: a path, or the word ``scenario``.
    """
    looks: dict[str, Callable[[], str]] = {
        "server": lambda: _server(bundle),
        "certificate": lambda: _certificate(bundle),
        "versions": lambda: _versions(bundle),
        "data": lambda: _data(bundle, data),
    }
    checks = []
    for what, look in looks.items():
        try:
            checks.append(DeviceCheck(what, True, look()))
        except FedsimError as error:
            checks.append(DeviceCheck(what, False, str(error)))
    # Who cannot be reached shows no certificate: one line says it.
    if not checks[0].is_well:
        checks = [check for check in checks if check.what != "certificate"]
    return checks


def _server(bundle: Bundle) -> str:
    welcome = register(bundle)
    _clock(welcome)
    here = f"{bundle.host} port {bundle.port} knows this device as {welcome.node}"
    return f"{here}, client {welcome.client} · clock {welcome.skew:+.1f} s"


def _clock(welcome: Registration) -> None:
    if abs(welcome.skew) > _SKEW_S:
        off = f"{abs(welcome.skew):.0f} s {'ahead of' if welcome.skew > 0 else 'behind'}"
        raise FedsimError(f"the clock is {off} the server's: set it by NTP (timedatectl)")


def _certificate(bundle: Bundle) -> str:
    trust = ssl.create_default_context(cafile=str(bundle.ca_certificate))
    try:
        with (
            socket.create_connection((bundle.host, bundle.port), timeout=15) as plain,
            trust.wrap_socket(plain, server_hostname=bundle.host) as secure,
        ):
            certificate = secure.getpeercert() or {}
    except OSError as error:
        raise FedsimError(f"the certificate cannot be seen: {error}") from error
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86400
    if days < _DAYS:
        raise FedsimError(f"the server's certificate ends in {days:.0f} days: restart its server")
    return f"valid for {days:.0f} days"


def _versions(bundle: Bundle) -> str:
    """Return the versions; those of fedsim and Flower must be the server's."""
    here = {"python": python_version()}
    here |= {name: version(name).partition("+")[0] for name in ("fedsim", "flwr", "torch")}
    there = bundle.versions
    for name in ("fedsim", "flwr"):
        if here[name] != there[name]:
            fix = "pip install -r requirements.txt, which is in the bundle"
            raise FedsimError(f"{name} is {here[name]} here and {there[name]} there: {fix}")
    listed = ", ".join(f"{name} {release}" for name, release in here.items())
    if here["torch"] != there["torch"]:
        return f"{listed}; torch is {there['torch']} there: last digits may differ"
    return listed


def _data(bundle: Bundle, data: str) -> str:
    """Take one turn as in a round and say what it took."""
    import torch

    from fedsim.data.federated import FederatedData
    from fedsim.data.store import write
    from fedsim.edge.device_data import SCENARIO, dealt_alone
    from fedsim.flower.parts import client_of, strategy_of
    from fedsim.worker.worker import Worker

    scenario = load(bundle.scenario)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fedsim-") as folder:
        store = Path(folder) / "data"
        if data == SCENARIO:
            from fedsim.data.federated import prepare

            dataset = prepare(scenario, store)
        else:
            write(dealt_alone(Path(data), scenario, bundle.client, bundle.clients), store)
            dataset = FederatedData.open(store)
        strategy = strategy_of(scenario)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        worker = Worker(scenario, dataset, client_of(scenario, strategy), device)
        seconds = _turn(worker, strategy, bundle.client)
        mine = dataset.counts()[bundle.client]
    present = f"{int((mine > 0).sum())} of {dataset.classes} classes"
    epochs = int(scenario.local.parameters.get("epochs", 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / (1e6 if sys.platform == "darwin" else 1e3)
    gpu = f" on {torch.cuda.get_device_name()}" if device == "cuda" else ""
    took = f"one epoch {seconds / epochs:.2f} s{gpu}, {peak_mb:.0f} MB at most"
    return f"{int(mine.sum())} rows to train on, {present} · {took}"


def _turn(worker: Worker, strategy: Strategy, client: int) -> float:
    """Return the seconds of one turn of the first phase that asks this client."""
    from fedsim.wire import Instruction

    info = worker.data.clients[client]
    state = strategy.begin(worker.initial, worker.data.clients)
    phase = next(
        (p for p in strategy.phases() if strategy.participates(p, info)), strategy.phases()[0]
    )
    state = replace(state, round=1, phase=phase)
    began = time.perf_counter()
    worker.turn(Instruction(1, phase, info, strategy.broadcast(state, info)))
    return time.perf_counter() - began
