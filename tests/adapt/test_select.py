"""Which round's model is the result: chosen without a label of a target."""

from __future__ import annotations

import numpy as np
import pytest

from fedsim.adapt.scorers import certain, dev, risk_with_control
from fedsim.engine.run import resume_run
from fedsim.errors import ScenarioError


def test_a_sure_model_stands_higher_than_an_unsure_one() -> None:
    assert certain(np.array([[1.0, 0.0]])) == pytest.approx(0)
    assert certain(np.array([[0.5, 0.5]])) == pytest.approx(-np.log(2))


def test_the_weighted_risk_is_the_plain_one_where_domains_are_alike() -> None:
    losses = np.array([0.1, 0.9, 0.4])
    assert risk_with_control(losses, np.ones(3)) == pytest.approx(losses.mean())
    # A loss that is the same everywhere has that risk, however uneven the ratios.
    assert risk_with_control(np.full(3, 0.7), np.array([0.1, 3.0, 0.5])) == pytest.approx(0.7)


def test_examples_like_the_target_s_count_more() -> None:
    generator = np.random.default_rng(0)
    source, target = (
        generator.normal(size=(300, 2)),
        generator.normal(size=(300, 2)) + np.array([1.5, 0]),
    )
    validation = generator.normal(size=(200, 2))
    bad_near_target, bad_far_away = validation[:, 0] > 0, validation[:, 0] < 0
    near = dev(source, target, bad_near_target.astype(float), validation)
    far = dev(source, target, bad_far_away.astype(float), validation)
    assert near < far - 0.3


@pytest.mark.parametrize("select", ["source_val", "entropy", "dev"])
def test_a_round_is_chosen_and_the_result_is_its_model(select: str, two_domains, play) -> None:
    data = two_domains().data.model_dump(mode="json")
    held = {**data, "holdout": {"client_val": "20%"}}
    run = play(two_domains(data=held, strategy="dann", rounds=4, adapt={"select": select}))
    (note,) = [text for text in run.notes if "chosen by" in text]
    chosen = int(note.partition("round ")[2].partition(",")[0])
    assert note.endswith(select)
    assert run.result.domains == run.rounds[chosen - 1].domains


def test_what_was_chosen_survives_a_stop(two_domains, play) -> None:
    run = play(two_domains(strategy="dann", rounds=4, adapt={"select": "entropy"}))
    sha = run.result.weights_sha256
    (run.folder.path / "result.json").unlink()
    (run.folder.path / "model.safetensors").unlink()
    for number in (4,):
        folder = run.folder.checkpoints / f"round_{number:04d}"
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    assert resume_run(run.folder, lambda event: None).weights_sha256 == sha


def test_a_choice_that_needs_what_is_not_there_is_refused(two_domains) -> None:
    with pytest.raises(ScenarioError, match="needs validation parts"):
        two_domains(adapt={"select": "dev"})
