"""The manifest of a run: with what, on what and from where it was computed.

It names no person and no machine: no user, no host, no environment variable.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fedsim.kernels import Promise, in_force

__all__ = ["cpu_model", "gpu_names", "manifest", "memory_bytes", "prolonged_manifest"]

_PACKAGES = ("fedsim", "torch", "numpy", "flwr", "ray", "pydantic", "safetensors", "scikit-learn")


def manifest(
    scenario: str,
    data_digest: str,
    seed: int,
    command: Sequence[str],
    repeatable: Promise = "here",
) -> dict[str, object]:
    """Return what ``manifest.json`` holds.

    Args:
        scenario: the text of ``scenario.resolved.yaml``.
        data_digest: SHA-256 over the data and how it is dealt.
        seed: the root seed.
        command: the command line, without the program.
        repeatable: where the run's bits repeat, as ``compute.repeatable`` says.
    """
    return {
        "started": _now(),
        "command": _words(command),
        "seed": seed,
        "scenario_sha256": hashlib.sha256(scenario.encode()).hexdigest(),
        "data_sha256": data_digest,
        "python": platform.python_version(),
        "packages": {name: release for name in _PACKAGES if (release := _version(name))},
        "git": _git(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_model(),
        "repeatable": {"where": repeatable, "settings": in_force()},
        "cores": os.cpu_count(),
        "memory_bytes": memory_bytes(),
        "gpus": gpu_names(),
    }


def prolonged_manifest(
    written: Mapping[str, Any], scenario: str, rounds: tuple[int, int], command: Sequence[str]
) -> dict[str, object]:
    """Return the manifest of a run that is given more rounds.

    Args:
        written: its manifest so far.
        scenario: the text of ``scenario.resolved.yaml`` from now on.
        rounds: how many it had, and has from now on.
        command: the command line, without the program.
    """
    entry = {"when": _now(), "command": _words(command), "from": rounds[0], "to": rounds[1]}
    return {
        **written,
        "scenario_sha256": hashlib.sha256(scenario.encode()).hexdigest(),
        "prolonged": [*written.get("prolonged", ()), entry],
    }


def cpu_model() -> str:
    """Return the processor's name, or its architecture where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def memory_bytes() -> int:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def gpu_names() -> list[str]:
    """Return the names of the GPUs that torch sees; torch is not loaded to find out."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _words(command: Sequence[str]) -> list[str]:
    return [_homeless(word) for word in ("fedsim", *command)]


def _homeless(word: str) -> str:
    # A home folder's path holds its owner's name.
    home = os.path.expanduser("~")
    return word.replace(home, "~") if len(home) > 1 else word


def _git() -> dict[str, object] | None:
    """Return the commit of the working folder, or None where it is not under git."""
    commit = _asked("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_asked("status", "--porcelain"))}


def _asked(*words: str) -> str | None:
    if (program := shutil.which("git")) is None:
        return None
    try:
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
