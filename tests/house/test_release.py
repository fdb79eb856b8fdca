"""A release changes the version where it stands, and only where nothing keeps it back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def released(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/release.py", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def git(folder: Path, *words: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", *author, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def copied(folder: Path) -> Path:
    """Return a repository of its own with the files that a release looks at."""
    (folder / "tools").mkdir(parents=True)
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md", "tools/release.py"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    git(folder, "init", "-q")
    git(folder, "config", "user.name", "a")
    git(folder, "config", "user.email", "a@b")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "begin")
    return folder


def test_a_version_without_a_heading_in_the_changelog_is_refused(tmp_path: Path) -> None:
    done = released(copied(tmp_path / "repo"), "9.9.9")
    assert done.returncode == 2
    assert done.stderr == "error: CHANGELOG.md has no heading ## [9.9.9]\n"


def test_a_release_is_a_commit_and_a_tag(tmp_path: Path) -> None:
    folder = copied(tmp_path / "repo")
    (folder / "CHANGELOG.md").write_text("## [9.9.9]\n")
    assert "not committed" in released(folder, "9.9.9").stderr
    git(folder, "commit", "-qam", "Say what is new")
    assert released(folder, "9.9.9", "--dry-run").returncode == 0
    assert git(folder, "tag") == ""
    assert released(folder, "9.9.9").returncode == 0
    assert git(folder, "tag") == "v9.9.9\n"
    for name in ("pyproject.toml", "CITATION.cff"):
        assert re.search(r'^version(: | = ")9\.9\.9', (folder / name).read_text(), re.M)
    assert git(folder, "status", "--porcelain") == ""
    assert "is there already" in released(folder, "9.9.9").stderr
