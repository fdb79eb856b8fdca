"""What the first pages promise is there: make targets, commands, pins, links."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer

from fedsim.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
EVERY_PAGE = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def code(path: Path) -> str:
    """Return what stands in code blocks and between back-ticks."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S)
    rest = re.sub(r"^```[^\n]*\n.*?^```", "", text, flags=re.M | re.S)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", rest)])


@EVERY_PAGE
def test_every_make_target_that_a_page_names_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"^\s*(?:\$ )?make ([a-z]+)", code(path), re.M)) <= targets


@EVERY_PAGE
def test_every_command_that_a_page_names_is_there(path: Path) -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert set(re.findall(r"^\s*(?:\$ )?fedsim ([a-z]+)", code(path), re.M)) <= commands


@EVERY_PAGE
def test_every_file_that_a_page_links_to_is_there(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


TRACKERS = ("tensorboard", "mlflow", "wandb")
"""Are never installed by make: what they pull in is the user's to choose."""


def test_the_pins_name_every_package_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(name for extra in extras for name in extra)]
    asked = [name for name in asked if not name.startswith(TRACKERS)]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    wanted = {re.split(r"[<>=!\[ ]", name)[0].lower().replace("_", "-") for name in asked}
    assert wanted <= pins.keys()
    assert all(re.fullmatch(r"[\w.]+", pin) for pin in pins.values()), "a pin carries a build tag"
    assert not pins.keys() & {"pip", "setuptools", "fedsim"}
