"""Processes end with what they started, and their secrets stay out of their command lines."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedsim.edge import secrecy
from fedsim.edge.processes import end, family, start
from fedsim.edge.server import Listening
from fedsim.errors import Refused

linux = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="reads /proc")

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {DEAF!r}], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@linux
def test_a_process_ends_with_all_that_it_has_started():
    parent = start([sys.executable, "-c", PARENT], os.environ, subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert family(parent.pid) == [child]
    end(parent, patience=1.0)
    assert parent.returncode is not None
    parent.stdout.close()
    until = time.monotonic() + 5
    while is_alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(child)


@linux
def test_a_process_ends_when_the_one_that_started_it_is_killed():
    code = (
        "import os, sys, time\n"
        "from fedsim.edge.processes import start\n"
        "one = start([sys.executable, '-c', 'import time; time.sleep(60)'], os.environ, -3)\n"
        "print(one.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 5
    while is_alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(child)


def test_a_token_is_passed_in_a_file_that_its_owner_alone_can_read(tmp_path, monkeypatch):
    real = tmp_path / "real"
    real.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    real.chmod(0o700)
    monkeypatch.setattr(secrecy, "program", lambda name: str(real))
    folder = secrecy.shims(tmp_path / "state with space")
    words = ["--insecure", "--token", "s3cr3t", "--addr", "a b", "--parent-pid", "7"]
    done = subprocess.run(
        [folder / "flwr-clientapp", *words], capture_output=True, text=True, check=True
    )
    said = done.stdout.splitlines()
    assert said[:2] == ["--insecure", "--token-file"]
    assert said[3:] == ["--addr", "a b", "--parent-pid", "7"]
    file = Path(said[2])
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("s3cr3t", 0o600)
    secrecy.shims(tmp_path / "state with space")
    assert not file.exists()  # a token is for one task: none outlives the device's process


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "fl.example.org"])
def test_flowers_control_api_is_shown_to_nobody(address):
    with pytest.raises(Refused, match="asks for no password"):
        Listening(control=address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_flowers_control_api_is_on_the_loopback_interface(address):
    assert Listening(control=address).control == address
