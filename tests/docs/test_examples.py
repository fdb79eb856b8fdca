"""Every example on a page works: scenarios load, Python runs, plug-ins can be named."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from fedsim.scenario.load import load
from fedsim.scenario.study_file import is_study, load_study

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str, holding: str = "") -> list[object]:
    """Return the fenced blocks of a language, each with its page and number as its id."""
    return [
        pytest.param(text, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, text in enumerate(
            re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        )
        if holding in text
    ]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_scenario_on_a_page_loads(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.yaml"
    page.write_text(text, encoding="utf-8")
    assert load_study(page).cells if is_study(page) else load(page).rounds >= 1


@pytest.mark.parametrize("text", blocks("python"))
def test_python_on_a_page_runs(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text(text, encoding="utf-8")
    runpy.run_path(str(page))


@pytest.mark.parametrize("text", blocks("python", holding="\nclass "))
def test_a_plug_in_on_a_page_can_be_named(text: str, tmp_path: Path, scenario, play) -> None:
    found = re.search(r"^class (\w+)(?:\((\w+)\))?:", text, re.M)
    assert found is not None
    (tmp_path / "page.py").write_text(text, encoding="utf-8")
    use = f"./page.py:{found[1]}"
    parts: dict[str, Any] = {
        "Strategy": {"strategy": use},
        "Client": {"local": {"use": use}},
        "Module": {"model": use},
        "Optimizer": {"local": {"optimizer": {"use": use, "lr": 0.002}}},
        "Augmentation": {"local": {"augment": [use]}},
        "Task": {"data": {"source": "diabetes"}, "task": use},
        "OwnMetric": {"data": {"source": "diabetes"}, "evaluation": {"metrics": ["mae", use]}},
    }
    of = scenario(**parts.get(found[2], {"data": {"source": use}}))
    result = play(of).result
    is_amount = found[2] in ("Task", "OwnMetric")
    assert result.metrics["mae"] < 80 if is_amount else result.accuracy > 0.15
