"""The best round's weights: chosen by validation parts alone, the same after any interruption."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import fedsim
from fedsim.cli.app import main
from fedsim.engine.best_round import BestRound, better_of, candidate
from fedsim.engine.result import weights_sha256
from fedsim.engine.run import resume_run
from fedsim.errors import RunFolderError, ScenarioError
from fedsim.metrics.shelf import METRICS
from fedsim.runlog.events import RoundRecord
from fedsim.runlog.run_folder import RunFolder

DATA = {
    "source": "digits",
    "partition": {"use": "dirichlet", "alpha": 0.5},
    "holdout": {"client_val": "20%"},
}
KEPT: dict[str, Any] = {
    "data": DATA,
    # So large a step that the last round is not the best.
    "local": {"lr": 1.5, "epochs": 3, "batch_size": 16},
    "evaluation": {"clients": 1, "part": "val", "keep_best": True},
    "rounds": 6,
}


def ignore(_: object) -> None:
    pass


def test_the_best_round_is_that_of_the_best_validation_value(scenario, play) -> None:
    run = play(scenario(**KEPT))
    values = {record.round: record.clients["accuracy"] for record in run.rounds}
    best = run.result.best
    assert best["round"] == max(values, key=lambda number: values[number])
    assert best["validation"] == max(values.values())
    assert best["round"] < 6, "otherwise this test shows nothing"
    weights = load_file(run.folder.path / "best.safetensors")
    assert weights_sha256(weights) == best["weights_sha256"] != run.result.weights_sha256
    # The weights are those that a run of so many rounds ends with.
    shorter = play(scenario(**{**KEPT, "rounds": best["round"]})).result
    assert best["weights_sha256"] == shorter.weights_sha256
    assert best["metrics"] == shorter.metrics
    assert run.folder.result() == run.result


def test_keeping_the_best_moves_nothing_else(scenario, play) -> None:
    plain = {"clients": 1, "part": "val"}
    kept, other = play(scenario(**KEPT)), play(scenario(**{**KEPT, "evaluation": plain}))
    assert kept.result.weights_sha256 == other.result.weights_sha256
    assert kept.result.metrics_sha256 == other.result.metrics_sha256
    assert "best" not in (other.folder.path / "result.json").read_text()
    assert not (other.folder.path / "best.safetensors").exists()


@pytest.mark.parametrize("strategy", ["fedavg", "fedadam"])
def test_a_killed_run_resumes_to_the_same_best(
    strategy, scenario, play, tmp_path, run_killed_at
) -> None:
    of = scenario(**{**KEPT, "strategy": strategy, "checkpoint": {"every": 2}})
    whole = play(of)
    for number in range(2, len(whole.events)):
        folder = RunFolder.create(tmp_path / f"killed {number}")
        run_killed_at(of, folder, number)
        assert resume_run(folder, ignore).best == whole.result.best


def test_a_former_last_round_that_was_not_due_is_no_candidate_of_a_prolonged_run(
    scenario, play
) -> None:
    every_three = {**KEPT, "evaluation": {"clients": 3, "part": "val", "keep_best": True}}
    at_once = play(scenario(**{**every_three, "rounds": 7})).result
    for rounds in (2, 4, 5):
        longer = play(scenario(**{**every_three, "rounds": rounds}))
        assert longer.result.best["round"] in (3, rounds)
        assert resume_run(longer.folder, ignore, rounds=7).best == at_once.best


def test_the_best_model_can_be_used(scenario, play, capsys) -> None:
    run = play(scenario(**KEPT))
    folder = str(run.folder.path)
    loaded = fedsim.load(folder)
    assert isinstance(loaded, fedsim.python_api.calls.Run)
    best, last = dict(loaded.model(best=True).state_dict()), dict(loaded.model().state_dict())
    assert weights_sha256(best) == run.result.best["weights_sha256"]
    assert weights_sha256(last) == run.result.weights_sha256
    raw = torch.rand(3, 1, 8, 8) * 16
    assert not torch.equal(loaded.predictor(best=True)(raw), loaded.predictor()(raw))
    assert main(["show", folder]) == 0
    assert (
        f"best    round {run.result.best['round']} by the clients' val" in capsys.readouterr().out
    )
    out = run.folder.path / "out.safetensors"
    assert main(["export", folder, "--to", "safetensors", "--best", "--out", str(out)]) == 0
    assert weights_sha256(load_file(out)) == run.result.best["weights_sha256"]
    assert main(["rerun", folder, "--verify"]) == 0


def test_a_run_that_kept_no_best_says_so(scenario, play) -> None:
    loaded = fedsim.load(play(scenario()).folder.path)
    assert isinstance(loaded, fedsim.python_api.calls.Run)
    with pytest.raises(RunFolderError, match=r"kept no best round: evaluation\.keep_best does"):
        loaded.model(best=True)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"evaluation": {"keep_best": True}}, "never on the test set"),
        (
            {"evaluation": {"keep_best": True, "clients": 1}, "data": DATA},
            "chosen on the clients' validation parts",
        ),
        (
            {
                **KEPT,
                "privacy": {"unit": "client", "clip": 1, "noise_multiplier": 1, "delta": 1e-3},
            },
            "chooses by clients' examples without noise",
        ),
        ({**KEPT, "adapt": {"select": "entropy"}}, "adapt.select chooses"),
    ],
)
def test_what_cannot_choose_is_refused(sections, message, scenario) -> None:
    with pytest.raises(ScenarioError, match=message):
        scenario(**sections)


@pytest.mark.parametrize(("name", "values", "best"), [("accuracy", (0.5, 0.7, 0.7, 0.6), 2)])
def test_the_first_of_equals_is_best_and_what_is_undefined_never(name, values, best) -> None:
    def chosen(name: str, values: tuple[float, ...]) -> BestRound | None:
        kept = None
        for number, value in enumerate(values, 1):
            record = RoundRecord(number, {}, (), (), {}, {name: value}, 0, 0, 0.0)
            weights = {"w": torch.full((1,), float(number))}
            kept = better_of(kept, candidate(record, weights, METRICS[name]), METRICS[name])
        return kept

    first = chosen(name, (math.nan, *values))
    assert first is not None
    assert (first.round, float(first.weights["w"])) == (best + 1, best + 1)
    lowest = chosen("rmse", (3.0, 1.0, 2.0))
    assert lowest is not None
    assert lowest.round == 2
