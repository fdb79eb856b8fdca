"""Flower's server as a process: started, waited for, ended."""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import time
from pathlib import Path

import httpx

from fedsim.edge.commands import program
from fedsim.edge.federation import Federation
from fedsim.edge.processes import end, start
from fedsim.edge.secrecy import shims
from fedsim.errors import RunError

__all__ = ["FlowerLink"]

_START_SECONDS = 90


class FlowerLink:
    """The process, its address, and what its certificate is trusted by."""

    def __init__(self, federation: Federation, host: str) -> None:
        self._federation, self._host = federation, host
        self._process: subprocess.Popen[bytes] | None = None
        trust = ssl.create_default_context(cafile=str(federation.ca_certificate))
        address = f"[{host}]" if ":" in host else host
        self.base = f"https://{address}:{federation.control_port}"
        self.trust = trust
        self._log = federation.path / "server" / "superlink.log"

    def start(self) -> None:
        """Start it; it listens a few seconds later."""
        folder = self._federation.path / "server"
        environment = dict(self._federation.connection().environment)
        environment["PATH"] = os.pathsep.join([str(shims(folder)), environment["PATH"]])
        command = [
            program("flower-superlink"),
            "--ssl-ca-certfile",
            str(self._federation.ca_certificate),
            "--ssl-certfile",
            str(folder / "server.crt"),
            "--ssl-keyfile",
            str(folder / "server.key"),
            "--enable-supernode-auth",
            "--database",
            str(folder / "state.db"),
            "--host",
            self._host,
            "--port",
            str(self._federation.control_port),
            "--disable-runtime-dependency-installation",
        ]
        with self._log.open("ab") as log:
            self._process = start(command, environment, log)

    def is_up(self) -> bool:
        """Return whether it answers."""
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"{self.base}/health", verify=self.trust, timeout=5)
            return True
        return False

    def is_dead(self) -> bool:
        """Return whether it has ended."""
        return self._process is None or self._process.poll() is not None

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            RunError: if it ends, or does not answer within a minute and a half.
        """
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and not self.is_dead():
            if self.is_up():
                return
            time.sleep(0.2)
        why = _last_lines(self._log)
        raise RunError(f"Flower's server does not start: {why} (log: {self._log})")

    def end(self) -> None:
        """End it, with all that it has started."""
        if self._process is not None:
            end(self._process)


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return " ".join(" ".join(lines[-4:]).split())[-300:]
