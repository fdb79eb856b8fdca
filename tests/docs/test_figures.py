"""Every table of measured figures on a page names the file that makes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

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
