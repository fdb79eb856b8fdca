"""A metric of one's own is measured, targeted and reported as those of the shelf are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from fedsim.errors import ScenarioError
from fedsim.scenario.load import load
from tests.conftest import SMALL, Make, Outcome

OWN = '''
from dataclasses import dataclass
from typing import ClassVar

from fedsim.metrics.own import OwnMetric


@dataclass(frozen=True)
class Within(OwnMetric):
    """The share of examples that are predicted to within 50."""

    name: ClassVar[str] = "within_50"
    title: ClassVar[str] = "within 50"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def sums(self, batch):
        near = (batch.predictions["values"][:, 0] - batch.targets).abs() <= 50
        return {"near": near.sum(), "all": near.new_ones(len(near)).sum()}

    def value(self, sums):
        return sums["near"] / sums["all"]


class Nameless(OwnMetric):
    pass
'''
REGRESSION: dict[str, Any] = {
    "data": {"source": "diabetes", "holdout": {"client_test": "20%"}},
    "model": {"use": "mlp", "hidden": []},
}


def test_it_is_measured_everywhere_and_exact_over_clients(
    scenario: Make, play: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    evaluation = {
        "metrics": ["./own.py:Within", "rmse"],
        "targets": {"within_50": 0.2},
        "clients": 1,
    }
    outcome = play(scenario(**REGRESSION, evaluation=evaluation))
    metrics = outcome.result.metrics
    assert list(metrics) == ["within_50", "rmse"]
    assert 0.3 < metrics["within_50"] < 1
    assert outcome.result.baseline["within_50"] < metrics["within_50"]
    assert outcome.result.targets["within_50"]["round"] == 1
    info = next(info for info in outcome.folder.metrics() if info.name == "within_50")
    assert (info.title, info.better, info.low, info.high) == ("within 50", "higher", 0.0, 1.0)
    rows = pd.read_parquet(outcome.folder.path / "clients.parquet")
    last = rows[rows["round"] == 3]
    pooled = (last["within_50"] * last["examples"]).sum() / last["examples"].sum()
    assert outcome.rounds[-1].clients["within_50"] == pytest.approx(pooled)


@pytest.mark.parametrize(
    ("evaluation", "key", "message"),
    [
        ({"metrics": ["./own.py:Witin"]}, "evaluation.metrics[0]", "own.py has no class Witin"),
        ({"metrics": ["./none.py:Within"]}, "evaluation.metrics[0]", "there is no file"),
        ({"metrics": ["./own.py:Nameless"]}, "evaluation.metrics[0]", "Nameless has no name"),
        (
            {"metrics": ["./own.py:Within"], "targets": {"within_5": 1.0}},
            "evaluation.targets.within_5",
            "no metric 'within_5'",
        ),
    ],
)
def test_what_is_not_there_is_a_fault_of_check(
    evaluation: dict[str, Any], key: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **REGRESSION, "evaluation": evaluation}))
    with pytest.raises(ScenarioError, match=message) as error:
        load(path)
    assert [fault.key for fault in error.value.faults] == [key]
