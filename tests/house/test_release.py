"""A release changes the version where it stands, and only where nothing keeps it back."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSIONED = ("pyproject.toml", "CITATION.cff")


def released(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/release.py", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def git(folder: Path, *words: str) -> str:
    command = ["git", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def committed(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / {"changelog": "CHANGELOG.md", "makefile": "Makefile"}[name]).write_text(text)
    git(folder, "commit", "-qam", "Change what a release reads")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a repository with the files that a release reads, whose `make check` passes."""
    folder = tmp_path / "repository"
    (folder / "tools").mkdir(parents=True)
    for name in (*VERSIONED, "CHANGELOG.md", "tools/release.py"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "Makefile").write_text("check:\n\t@grep '^version' pyproject.toml CITATION.cff\n")
    git(folder, "init", "-q")
    git(folder, "config", "user.name", "a")
    git(folder, "config", "user.email", "a@b")
    git(folder, "config", "commit.gpgsign", "false")
    git(folder, "config", "tag.gpgsign", "false")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "begin")
    return folder


def test_the_citation_repeats_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("heading", ["", "## [9.9.9] - unreleased\n", "## [9x9.9] - 2030-01-31\n"])
def test_a_version_without_a_dated_heading_in_the_changelog_is_refused(
    folder: Path, heading: str
) -> None:
    committed(folder, changelog=f"# Changelog\n{heading}")
    result = released(folder, "9.9.9")
    assert result.returncode == 2
    assert result.stderr == "error: CHANGELOG.md has no heading ## [9.9.9] - YEAR-MONTH-DAY\n"


def test_what_is_no_version_or_an_older_one_is_refused(folder: Path) -> None:
    assert released(folder, "v9").stderr.startswith("error: v9 is not a version")
    assert "error: 0.0.1 is older than " in released(folder, "0.0.1").stderr


def test_a_release_is_a_check_a_commit_and_a_tag(folder: Path) -> None:
    (folder / "CHANGELOG.md").write_text("## [9.9.9] - 2030-01-31\n")
    assert "not committed" in released(folder, "9.9.9").stderr
    committed(folder)
    assert released(folder, "9.9.9", "--dry-run").returncode == 0
    assert git(folder, "tag") == git(folder, "status", "--porcelain") == ""
    result = released(folder, "9.9.9")
    assert result.returncode == 0
    # What the check read; under `make test`, make also writes which folder it enters.
    checked = ['pyproject.toml:version = "9.9.9"', "CITATION.cff:version: 9.9.9"]
    assert set(checked) <= set(result.stdout.splitlines())
    assert git(folder, "tag") == "v9.9.9\n"
    assert git(folder, "show", "--format=%s", "--name-only").split() == [
        "Release",
        "9.9.9",
        *sorted(VERSIONED),
    ]
    assert git(folder, "status", "--porcelain") == ""
    assert "is there already" in released(folder, "9.9.9").stderr


def test_the_version_that_stands_there_already_can_be_released(folder: Path) -> None:
    version = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
    committed(folder, changelog=f"## [{version}] - 2030-01-31\n")
    assert released(folder, version).returncode == 0
    assert git(folder, "log", "-1", "--format=%s %(describe:tags)").split() == [
        "Release",
        version,
        f"v{version}",
    ]


def test_a_check_that_fails_leaves_everything_as_it_was(folder: Path) -> None:
    committed(folder, changelog="## [9.9.9] - 2030-01-31\n", makefile="check:\n\t@false\n")
    before = git(folder, "rev-parse", "HEAD")
    result = released(folder, "9.9.9")
    assert result.returncode == 1
    assert result.stderr.endswith("error: make check failed; nothing was committed\n")
    assert git(folder, "tag") == git(folder, "status", "--porcelain") == ""
    assert git(folder, "rev-parse", "HEAD") == before
