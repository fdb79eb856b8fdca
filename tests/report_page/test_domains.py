"""The page on runs with targets: matrix, bars, ratios held against the truth, confusions, maps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedsim.analysis.collect import collect
from fedsim.analysis.domain_results import domains_of
from fedsim.report.export import numbers
from fedsim.report.html import render
from fedsim.report.page import page_of

COUNTS = {"photo": [10, 10, 20], "sketch": [20, 10, 10]}
MAP = {"domain": ["photo", "sketch"], "label": [0, 1], "at": [[0.0, 1.0], [1.0, 0.5]]}


def seen(roles: dict[str, str]) -> dict[str, object]:
    return {
        "classes": ["a", "b", "c"],
        "roles": roles,
        "counts": COUNTS,
        "confusion": {name: [[3, 1, 0], [0, 4, 0], [0, 0, 0]] for name in roles},
        "maps": {"before": MAP, "after": MAP},
    }


@pytest.fixture
def adapted(runs) -> Path:
    """Runs of three methods, one of which had the target's labels."""
    folder: Path = runs(fedavg=(0.7, 0.72), iwdan=(0.8, 0.82), oracle=(0.9, 0.94))
    for run in folder.iterdir():
        strategy, seed = run.name.split("-")
        final = {"fedavg": 0.5, "iwdan": 0.6, "oracle": 0.8}[strategy] + 0.02 * int(seed)
        said = json.loads((run / "result.json").read_text())
        (run / "result.json").write_text(
            json.dumps(said | {"domains": {"photo": 0.9, "sketch": final}})
        )
        lines = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
        for line in lines:
            line["domains"] = {"photo": 0.9, "sketch": final * line["round"] / 2}
        (run / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        roles = {"photo": "source", "sketch": "source" if strategy == "oracle" else "target"}
        dealt = json.loads((run / "partition.json").read_text())
        for place, client in enumerate(dealt["clients"]):
            name = ("photo", "sketch")[place % 2]
            client |= {"domain": name, "role": roles[name]}
        (run / "partition.json").write_text(json.dumps(dealt))
        if strategy == "iwdan":
            ratios = [{"round": r, "ratios": {"photo>sketch": [1 + r / 2, 1, 1]}} for r in (1, 2)]
            text = "".join(json.dumps(one) + "\n" for one in ratios)
            (run / "tables.jsonl").write_text(text)
        if strategy != "oracle":
            (run / "domains.json").write_text(json.dumps(seen(roles)))
    return folder


def test_the_matrix_says_who_learnt_from_whom(adapted: Path) -> None:
    found = domains_of(collect([adapted]))
    assert found is not None
    assert found.targets == ("sketch",)
    rows = {row.level: row for row in found.rows}
    assert rows["fedavg"].sources == ("photo",)
    assert rows["oracle"].sources == ("photo", "sketch")
    assert rows["iwdan"].accuracy["sketch"].mean == pytest.approx(0.63)
    said = {one["level"]: one for one in numbers(page_of(collect([adapted])))["domains"]}
    assert said["oracle"]["accuracy"]["sketch"]["mean"] == pytest.approx(0.83)


def test_the_bars_go_from_the_worst_to_the_bound(adapted: Path) -> None:
    drawn = page_of(collect([adapted])).domain_drawings
    assert drawn is not None
    (bars,) = drawn.bars
    assert bars.about == "fedavg: 0.530; iwdan: 0.630; oracle: 0.830"


def test_ratios_are_held_against_those_of_the_training_labels(adapted: Path) -> None:
    from fedsim.analysis.domain_results import _seen

    (trial,) = (t for t in collect([adapted]).trials if t.name == "iwdan-1")
    one = _seen(trial)
    assert one is not None
    assert np.allclose(one.true["photo>sketch"], [2.0, 1.0, 0.5])
    assert {number: list(v) for number, v in one.ratios["photo>sketch"].items()} == {
        1: [1.5, 1, 1],
        2: [2.0, 1, 1],
    }


def test_everything_stands_in_the_page_and_is_absent_without_targets(adapted, runs) -> None:
    page = page_of(collect([adapted]))
    drawn = page.domain_drawings
    assert drawn is not None
    names = {
        "ratios": [one.name for one in drawn.ratios],
        "confusions": [one.title for one in drawn.confusions],
        "maps": [one.title for one in drawn.maps],
        "curves": [one.title for one in drawn.curves],
    }
    assert names == {
        "ratios": ["ratios-1", "ratio-errors-1"],
        "confusions": ["fedavg, photo", "fedavg, sketch", "iwdan, photo", "iwdan, sketch"],
        "maps": ["before training", "after fedavg", "after iwdan"],
        "curves": ["fedavg", "iwdan", "oracle"],
    }
    text = render(page)
    assert "<th>sketch (target)</th>" in text
    assert "it is a bound, and no adaptation" in text
    assert page_of(collect([runs(plain=(0.5, 0.6)) / "plain-1"])).domains is None


def test_a_damaged_file_costs_its_pictures_alone(adapted: Path) -> None:
    for run in adapted.glob("iwdan-*"):
        (run / "domains.json").write_text('{"classes": 3}')
    page = page_of(collect([adapted]))
    assert page.domain_drawings is not None
    assert page.domain_drawings.ratios == ()
    assert page.domains is not None
    assert len(page.domains.rows) == 3
