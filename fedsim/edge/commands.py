"""Flower's commands as processes: where they are, in what surroundings, and what they answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsim.errors import FedsimError, MissingPackage

__all__ = ["answer", "is_temporary", "program", "surroundings"]

_SECONDS = 120
"""How long one command may take; Flower's take seconds, most of them to start."""


def program(name: str) -> str:
    """Return the path of one of Flower's commands, beside the Python that runs now.

    Raises:
        MissingPackage: if it is not installed.
    """
    beside = Path(sys.executable).with_name(name)
    path_found = str(beside) if beside.is_file() else shutil.which(name)
    if path_found is None:
        raise MissingPackage(f"{name} is not installed: pip install 'fedsim[edge]'")
    return path_found


def surroundings(home: Path) -> dict[str, str]:
    """Return the environment for a process of Flower that keeps its files in ``home``.

    It is this process's, in which Flower is told already to call no one and to install nothing
    (``fedsim/__init__.py``); what the process starts in turn is found beside it.
    """
    unproxied = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1,localhost,::1"]))
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {
        **os.environ,
        "PATH": programs,
        "FLWR_HOME": str(home),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        "NO_PROXY": unproxied,
    }


def answer(words: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run ``flwr WORDS --format json`` and return what it answers.

    The exit code of ``flwr`` is 0 even when it failed, so only ``success`` counts.

    Raises:
        FedsimError: if the command cannot be run, or says that it failed, with its reason.
    """
    command = [program("flwr"), *words, "--format", "json"]
    what = f"flwr {' '.join(words[:2])}"
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise FedsimError(f"{what} gave no answer within {_SECONDS} s") from error
    start = done.stdout.find("{")
    try:
        reply = json.loads(done.stdout[start:]) if start >= 0 else {}
    except json.JSONDecodeError:
        reply = {}
    if not reply.get("success"):
        reason = reply.get("error-message") or done.stderr or done.stdout or "no answer"
        raise FedsimError(f"{what} failed: {' '.join(str(reason).split())[-400:]}")
    return dict(reply)


def is_temporary(error: FedsimError) -> bool:
    """Return whether asking Flower's server again may help."""
    text = str(error).lower()
    return any(word in text for word in ("connect", "unavailable", "timed out", "no answer"))
