"""A device joins the federation, and rejoins after a crash, a restart or a loss of network."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fedsim.edge.bundle import Bundle
from fedsim.edge.commands import surroundings
from fedsim.edge.pki import make_folder
from fedsim.edge.processes import end, start
from fedsim.edge.reach import leave, register
from fedsim.edge.secrecy import shims
from fedsim.errors import DataError, Unreachable
from fedsim.runlog import files, lock

__all__ = ["REHEARSAL", "join"]

REHEARSAL = "scenario"
"""Stands for a path; see :data:`fedsim.edge.device_data.SCENARIO`, which would load torch here."""
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Between attempts to join, in seconds; the last one again and again."""
_STEADY = 20.0
"""A device that was joined for so many seconds begins with the shortest pause again."""
_THERE = "joined"
"""A file of the device: there while Flower's server may believe the device to be there."""
_LOG_BYTES = 10 << 20
_ID = re.compile(rb"SuperNode ID: (\d+)")
_BUSY = b"2004"
"""Flower's code for a device that it believes to be there already."""

Tell = Callable[[str], None]


def join(bundle: Bundle, data: str, tell: Tell) -> None:
    """Take part in the bundle's federation with the examples at ``data``, until told to stop.

    Args:
        bundle: what the device was given.
        data: its own examples, read by the device's client and never sent; or the word
            ``scenario``: the device takes its part of the scenario's own source, as a rehearsal.
        tell: is called with a line for each thing that happens.

    Raises:
        Refused: if the server cannot be trusted or does not take this device: for good.
        DataError: if ``data`` is absent.
        RunFolderError: if the bundle cannot be used, or is in use.
    """
    if data != REHEARSAL:
        data = str(Path(data).absolute())
        if not Path(data).exists():
            raise DataError(f"{data} is absent: --data names the device's own examples")
    make_folder(bundle.home)
    with lock.hold(bundle.home), _until_told() as stop:
        _Supervisor(bundle, data, tell, stop).run()


@dataclass
class _Supervisor:
    """Keeps Flower's process for a device running."""

    bundle: Bundle
    data: str
    tell: Tell
    stop: threading.Event
    _said: str = field(default="", init=False)

    def run(self) -> None:
        failures = 0
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                why = self._once()
            except Unreachable as error:
                why = str(error)
            failures = 1 if time.monotonic() - began > _STEADY else failures + 1
            if not self.stop.is_set():
                self._say(why)
                self.stop.wait(PAUSES[min(failures, len(PAUSES)) - 1])
        self.tell("stopped")

    def _say(self, why: str) -> None:
        """Tell why the device is not joined, once as long as the reason is the same."""
        if why != self._said:
            self.tell(f"{why}; trying again")
        self._said = why

    def _once(self) -> str:
        """Join once, until that ends; return in words why it did."""
        welcome = register(self.bundle)  # who cannot join is told so here, in words
        if welcome.node_id is None:
            raise Unreachable("the server has not registered this device's key yet")
        if self._marker.is_file():
            # The last process here was killed: only its own device says so, never a copy of
            # the bundle on another one, which has no such file and has to wait.
            with suppress(Unreachable):
                leave(self.bundle, welcome.node_id)
            self._marker.unlink()
        elif welcome.busy:
            self._say(f"the server still counts this device as connected, for {welcome.busy:.0f} s")
            if self.stop.wait(welcome.busy + 1.0):
                return "stopped"
        process = self._start()
        try:
            return self._watch(process)
        finally:
            end(process)

    def _start(self) -> subprocess.Popen[bytes]:
        home = self.bundle.home
        settings = home / "node.toml"
        files.write(settings, _settings(self.bundle, self.data))
        command = [
            sys.executable,
            "-m",
            "fedsim.edge.warm",  # flower-supernode, with warm clients
            "--superlink",
            self.bundle.address,
            "--root-certificates",
            str(self.bundle.ca_certificate),
            "--auth-supernode-private-key",
            str(self.bundle.key),
            "--node-config",
            str(settings),
            "--host",
            "127.0.0.1",
            "--port",
            str(_free_port()),
        ]
        environment = surroundings(home / "flwr")
        environment["PATH"] = os.pathsep.join([str(shims(home)), environment["PATH"]])
        return start(command, environment, subprocess.PIPE)

    def _watch(self, process: subprocess.Popen[bytes]) -> str:
        """Follow what the process says until it ends or the device is told to stop."""
        last: list[bytes] = []
        reader = threading.Thread(target=self._read, args=(process.stdout, last), daemon=True)
        reader.start()
        while process.poll() is None and not self.stop.wait(0.2):
            pass
        if self.stop.is_set():
            return "stopped"
        reader.join(1.0)
        if any(_BUSY in line for line in last):
            return "the server still counts this device as connected, for up to a minute"
        return f"Flower's process ended with {process.returncode}"

    def _read(self, lines: IO[bytes], last: list[bytes]) -> None:
        path = self.bundle.home / "supernode.log"
        if path.is_file() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            for line in lines:
                log.write(line)
                log.flush()
                last[:] = [*last[-9:], line]
                if match := _ID.search(line):
                    self._marker.write_bytes(match[1])
                    self._said = ""
                    self.tell(f"joined {self.bundle.federation} as {self.bundle.node}")

    @property
    def _marker(self) -> Path:
        return self.bundle.home / _THERE


def _settings(bundle: Bundle, data: str) -> str:
    """Return what Flower gives to the client on this device, as TOML."""
    values: dict[str, int | str] = {
        "partition-id": bundle.client,
        "num-partitions": bundle.clients,
        "data": data,
        "key": str(bundle.key),
        "bundle": str(bundle.path),
    }
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: int | str) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and Ctrl-C set."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in numbers}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
