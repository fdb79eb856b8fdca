"""Every table of measured figures on a page names the file that makes it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

from fedsim.engine.run import run_scenario
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load
from fedsim.scenario.study_file import is_study, load_study

ROOT = Path(__file__).parents[2]
LINKED = ["adaptation.md"]
"""Pages whose tables are linked so far."""
TABLE = re.compile(r"(?:^<!-- figures: (?P<makers>.+?) -->\n\n)?(?P<rows>(?:^\|.*\n)+)", re.M)
FIGURE = re.compile(r"\|\s*\**-?\d+\.\d")


def tables(page: str) -> list[tuple[str, list[str]]]:
    """Return of each table with figures its first line, and the files that are said to make it."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [
        (table["rows"].splitlines()[0], (table["makers"] or "").split())
        for table in TABLE.finditer(text)
        if any(FIGURE.search(row) for row in table["rows"].splitlines()[2:])
    ]


MAKERS = sorted({maker for page in LINKED for _, makers in tables(page) for maker in makers})


@pytest.mark.parametrize("page", LINKED)
def test_every_table_of_figures_names_what_makes_it(page: str) -> None:
    found = tables(page)
    assert found
    assert [title for title, makers in found if not makers] == []


@pytest.mark.parametrize("maker", MAKERS)
def test_what_makes_a_table_of_figures_can_be_loaded(maker: str) -> None:
    path = ROOT / maker
    if path.suffix == ".py":
        ast.parse(path.read_text(encoding="utf-8"))
    elif is_study(path):
        load_study(path)
    else:
        load(path)


def test_the_figures_of_jdme_on_digits_are_those_of_its_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "adaptation.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| `jdme`, its own linear"))
    shown = [figure.strip() for figure in row.split("|")[3].split(",")]
    study = yaml.safe_load((ROOT / "scenarios" / "domains_methods.yaml").read_text())
    cell = study["axes"]["strategy"]["jdme"]
    changes = [f"{key}={json.dumps(value)}" for key, value in cell.items()]
    got = []
    for seed in (1, 2, 3):
        scenario = load(
            ROOT / "scenarios" / study["base"],
            [*changes, f"seed={seed}"],
        )
        folder = RunFolder.create(tmp_path / str(seed))
        run_scenario(scenario, folder, lambda event: None)
        domains = json.loads((folder.path / "rounds.jsonl").read_text().splitlines()[-1])["domains"]
        got.append(f"{domains['blurred']:.3f}")
    assert got == shown
