"""``fedsim doctor``: is this machine fit to run experiments?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import typer

from fedsim.cli.formatting import size
from fedsim.cli.screen import Screen
from fedsim.runlog.manifest import cpu_model, gpu_names, memory_bytes

__all__ = ["doctor"]

_NEEDED = ("torch", "flwr", "numpy", "safetensors")
_OPTIONAL = {
    "ray": "several workers",
    "scikit-learn": "the digits data set",
    "flwr-datasets": "data sets of the Hugging Face hub",
    "pandas": "csv and parquet data",
    "pyarrow": "clients.parquet",
    "matplotlib": "pictures",
}
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_GB = 1e9


@dataclass(frozen=True)
class SystemCheck:
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def doctor() -> None:
    """Check versions, processors, memory, GPU, disk and packages."""
    screen = Screen.current()
    findings = []
    for finding in _findings():
        findings.append(finding)
        if not screen.json:
            advice = f"  {finding.advice}" if finding.advice else ""
            line = f"{finding.state:<5} {finding.what:<14} {finding.found}{advice}"
            screen.say(line, _STYLES[finding.state] if finding.state != "ok" else "")
    if screen.json:
        screen.dump(findings)
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(2)
    screen.next("fedsim init demo")


def _findings() -> Iterator[SystemCheck]:
    is_known = (3, 11) <= sys.version_info[:2] < (3, 14)
    python = platform.python_version()
    yield SystemCheck(
        "python",
        "ok" if is_known else "warn",
        python,
        "" if is_known else "3.11 to 3.13 are tested",
    )
    yield SystemCheck("fedsim", "ok", version("fedsim"))
    for package in _NEEDED:
        release = _version(package)
        advice = "" if release else "pip install fedsim"
        yield SystemCheck(package, "ok" if release else "fail", release or "absent", advice)
    for package, purpose in _OPTIONAL.items():
        release = _version(package)
        advice = "" if release else f"for {purpose}: pip install 'fedsim[sim]'"
        yield SystemCheck(package, "ok" if release else "warn", release or "absent", advice)
    yield SystemCheck("processor", "ok", f"{os.cpu_count()} cores, {cpu_model()}")
    memory = memory_bytes()
    few = "" if memory > 4 * _GB else "large models and many workers will not fit"
    yield SystemCheck("memory", "warn" if few else "ok", size(memory), few)
    yield _gpu()
    yield _disk()
    yield _shared_memory()


def _gpu() -> SystemCheck:
    if _version("torch") is None:
        return SystemCheck("gpu", "warn", "unknown without torch")
    import torch  # noqa: F401  (gpu_names asks the torch that is loaded)

    return SystemCheck(
        "gpu", "ok", ", ".join(gpu_names()) or "none; experiments run on the processor"
    )


def _disk() -> SystemCheck:
    here = Path.cwd()
    try:
        with tempfile.TemporaryFile(dir=here):
            pass
    except OSError as error:
        return SystemCheck("disk", "fail", f"{here} cannot be written: {error.strerror}")
    free = shutil.disk_usage(here).free
    full = "" if free > 2 * _GB else "checkpoints and data may not fit"
    return SystemCheck("disk", "warn" if full else "ok", f"{size(free)} free in {here}", full)


def _shared_memory() -> SystemCheck:
    shared = Path("/dev/shm")
    if not shared.is_dir():
        return SystemCheck("shared memory", "ok", "not used on this system")
    free = shutil.disk_usage(shared).free
    small = "" if free > _GB else "Ray wants more; in a container: --shm-size=2g"
    return SystemCheck("shared memory", "warn" if small else "ok", f"{size(free)} free", small)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
