"""Runs whole scenarios."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsim.engine.run import run_scenario
from fedsim.runlog.events import Result
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load


@pytest.fixture
def play(tmp_path: Path) -> Callable[[dict[str, Any]], Result]:
    """Return what runs a scenario in process and returns its result."""
    numbers = iter(range(100))

    def run(settings: dict[str, Any]) -> Result:
        file = tmp_path / f"scenario{next(numbers)}.yaml"
        local = {"compute": {"backend": "local"}}
        file.write_text(yaml.safe_dump({**settings, **local}), encoding="utf-8")
        folder = RunFolder.create(tmp_path / f"run{next(numbers)}")
        return run_scenario(load(file), folder, lambda _: None)

    return run
