"""A manifest says with what a run was computed, and neither who nor where."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fedsim.runlog.manifest import manifest


def test_it_says_the_versions_the_seed_and_the_hashes() -> None:
    said = manifest("rounds: 1\n", "ab", 7, ["run", "scenario.yaml"])
    assert said["command"] == ["fedsim", "run", "scenario.yaml"]
    assert (said["seed"], said["data_sha256"]) == (7, "ab")
    assert said["scenario_sha256"] == hashlib.sha256(b"rounds: 1\n").hexdigest()
    assert said["python"] == platform.python_version()
    assert {"fedsim", "torch", "flwr", "numpy"} <= set(said["packages"])  # type: ignore[call-overload]


def test_it_names_no_machine_and_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/marie-curie")
    monkeypatch.setenv("FEDSIM_SECRET", "radium-226")
    said = json.dumps(manifest("", "", 1, ["run", "/home/marie-curie/scenario.yaml"]))
    assert "~/scenario.yaml" in said
    for secret in ("marie-curie", "radium-226", platform.node()):
        assert secret not in said


def test_outside_git_there_is_no_commit_and_inside_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert manifest("", "", 1, [])["git"] is None
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "begin"]):
        subprocess.run(["git", *words], check=True, env={**os.environ, "HOME": str(tmp_path)})
    git = manifest("", "", 1, [])["git"]
    assert isinstance(git, dict)
    assert (len(git["commit"]), git["dirty"]) == (40, False)
    (tmp_path / "new.txt").touch()
    assert manifest("", "", 1, [])["git"] == git | {"dirty": True}


def test_it_loads_no_torch() -> None:
    script = "import sys; from fedsim.runlog.manifest import manifest; manifest('', '', 1, [])\n"
    subprocess.run([sys.executable, "-c", script + "assert 'torch' not in sys.modules"], check=True)
