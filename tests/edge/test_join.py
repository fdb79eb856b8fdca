"""A real server and a real device on the loopback interface: what happens when one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedsim.edge import server
from fedsim.edge.federation import Federation
from fedsim.edge.processes import end, family
from fedsim.edge.status import look, take_out
from fedsim.errors import FedsimError

pytestmark = [
    pytest.mark.edge,
    pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="reads /proc"),
]


class Process:
    """A command of fedsim whose lines are kept."""

    def __init__(self, folder: Path, name: str, *words: str) -> None:
        self.out = folder / f"{name}.out"
        with self.out.open("ab") as out:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "fedsim", "edge", *words],
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def lines(self, word: str) -> list[str]:
        return [line for line in self.out.read_text().splitlines() if word in line]

    def await_lines(self, word: str, count: int = 1) -> None:
        until = time.monotonic() + 60
        while len(self.lines(word)) < count:
            assert time.monotonic() < until, self.out.read_text()
            assert self.popen.poll() is None or len(self.lines(word)) >= count
            time.sleep(0.1)

    def command_lines(self) -> dict[int, str]:
        pids = [self.popen.pid, *family(self.popen.pid)]
        return {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in pids}


@pytest.fixture
def federation(federate) -> Federation:
    made: Federation = federate(("a",))
    (made.path.parent / "data.npz").touch()
    return made


@pytest.fixture
def served(federation: Federation) -> Iterator[Process]:
    first = serve(federation, "server")
    yield first
    end(first.popen, patience=20.0)


def serve(federation: Federation, name: str) -> Process:
    process = Process(federation.path.parent, name, "server", str(federation.path))
    process.await_lines("ready")
    return process


@pytest.fixture
def device(federation: Federation, served: Process) -> Iterator[Process]:
    bundle, data = federation.path / "bundles" / "a", federation.path.parent / "data.npz"
    device = Process(federation.path.parent, "a", "join", str(bundle), "--data", str(data))
    device.await_lines("joined small as a")
    yield device
    end(device.popen, patience=20.0)


def state_of(federation: Federation) -> str:
    return look(federation).nodes[0].state


def test_a_device_comes_back_after_a_crash_and_goes_when_it_is_revoked(
    federation: Federation, served: Process, device: Process
) -> None:
    federation = Federation.load(federation.path)
    assert state_of(federation) == "online"
    lines = " ".join([*device.command_lines().values(), *served.command_lines().values()])
    assert "PRIVATE KEY" not in lines
    for pid in family(device.popen.pid):
        os.kill(pid, signal.SIGKILL)
    device.await_lines("joined small as a", 2)
    assert state_of(federation) == "online"
    take_out(federation, "a")
    assert device.popen.wait(30) == 2
    assert device.lines("its key was revoked")
    assert state_of(Federation.load(federation.path)) == "revoked"


def test_a_server_ends_with_all_it_started_and_goes_on_where_it_was(
    federation: Federation, served: Process, device: Process
) -> None:
    with pytest.raises(FedsimError, match="in use by process"):
        server.serve(federation, server.Listening(), print)
    every = served.command_lines()
    assert len(every) >= 3
    served.popen.terminate()
    assert served.popen.wait(30) == 0
    assert not [pid for pid, line in every.items() if running(pid) == line]
    again = serve(federation, "again")
    try:
        assert not again.lines("registered")  # the keys are known from before
        until = time.monotonic() + 45
        while state_of(federation) != "online" and time.monotonic() < until:
            time.sleep(0.5)
        assert state_of(Federation.load(federation.path)) == "online"
        assert len(device.lines("joined")) == 1  # Flower's process found the server by itself
    finally:
        end(again.popen, patience=20.0)


def running(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
