"""A federation of real processes on this machine, to be broken on purpose."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedsim.edge.processes import end, family

FEDSIM = [sys.executable, "-m", "fedsim"]
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@dataclass
class Part:
    """A process whose lines are kept in a file."""

    words: Sequence[str]
    out: Path
    prefix: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.out.open("ab") as out:
            self.process = subprocess.Popen(
                [*self.prefix, *FEDSIM, *self.words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=QUIET,
                start_new_session=True,
            )

    def lines(self) -> list[str]:
        return self.out.read_text().splitlines() if self.out.is_file() else []

    def await_line(self, word: str, beyond: int, patience: float = 150.0) -> float:
        """Wait for a line with ``word`` after the first ``beyond``; return after how long."""
        began = time.monotonic()
        while time.monotonic() < began + patience:
            if any(word in line for line in self.lines()[beyond:]):
                return time.monotonic() - began
            time.sleep(0.1)
        raise TimeoutError(f"{' '.join(self.words)}: no {word!r} in {patience:.0f} s")

    def vanish(self) -> None:
        """End as when the power goes: nobody says goodbye."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGSTOP)  # so that it sees nothing of its children's end
        for pid in [*family(self.process.pid), self.process.pid]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            end(self.process, patience=20.0)


@dataclass
class Lab:
    """A server and its devices."""

    folder: Path
    scenario: Path
    names: Sequence[str]
    host: str = "127.0.0.1"
    port: int = 18643
    control: int = 18200
    server: Part = field(init=False)
    devices: dict[str, Part] = field(init=False)

    def __post_init__(self) -> None:
        folder = self.folder / "fed"
        words = ["edge", "init", str(self.scenario), "--nodes", ",".join(self.names)]
        words += ["--host", self.host, "-o", str(folder), "--quiet"]
        words += ["--port", str(self.port), "--control-port", str(self.control)]
        subprocess.run([*FEDSIM, *words], check=True, env=QUIET, stdout=subprocess.DEVNULL)
        self.server = Part(["edge", "server", str(folder)], self.folder / "server.out")
        self.devices = {name: self._device(name) for name in self.names}

    def _device(self, name: str) -> Part:
        home = self.folder / name
        home.mkdir()
        archive = home / f"{name}.tar.gz"
        archive.write_bytes((self.folder / "fed" / "bundles" / archive.name).read_bytes())
        words = ["edge", "join", str(archive), "--data", "scenario"]
        return Part(words, self.folder / f"{name}.out")

    def start(self, *names: str) -> None:
        self.server.start()
        self.server.await_line("ready", 0)
        for name in names:
            self.devices[name].start()
        for name in names:
            self.devices[name].await_line("joined", 0)

    def stop(self) -> None:
        for part in (*self.devices.values(), self.server):
            part.stop()

    def states(self) -> dict[str, str]:
        words = [*FEDSIM, "edge", "status", str(self.folder / "fed"), "--format", "json"]
        done = subprocess.run(words, capture_output=True, text=True, env=QUIET, check=True)
        return {row["name"]: row["state"] for row in json.loads(done.stdout)["nodes"]}
