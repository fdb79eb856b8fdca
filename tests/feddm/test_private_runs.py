"""Whole runs of private FedDM: charged, repeatable, and refused where nothing would be private."""

from __future__ import annotations

import pytest
import torch

from fedsim.clients.mean_embeddings import MeanEmbeddings
from fedsim.clients.private_matching import PrivateMatching
from fedsim.engine.run import resume_run, run_scenario
from fedsim.errors import QuorumLost, ScenarioError
from fedsim.models._state import weights_of
from fedsim.privacy.accountant import Release
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.runlog.run_folder import RunFolder
from fedsim.seeds import torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction, Update

PRIVACY = {
    "unit": "record",
    "clip": 1.0,
    "noise_multiplier": 2.0,
    "delta": 1e-4,
    "rng": "simulation",
}
MATCHING = {
    "use": "private_matching",
    "images_per_class": 2,
    "steps": 2,
    "sample_rate": 0.5,
    "count_noise": 3.0,
}
MEANS = {"use": "mean_embeddings", "images_per_class": 2, "steps": 2, "count_noise": 3.0}
SMALL = {
    "rounds": 2,
    "clients": {"count": 3},
    "data": {"source": "digits", "partition": {"use": "dirichlet", "alpha": 0.3}},
    "model": {"use": "convnet", "width": 4, "depth": 1},
    "local": MATCHING,
    "strategy": {"use": "feddm", "epochs": 2},
    "privacy": PRIVACY,
}


class Killed(BaseException):
    """Stands for a process that ends without a chance to tidy up."""


@pytest.mark.parametrize("local", [MATCHING, MEANS], ids=lambda local: local["use"])
def test_chunks_and_a_resume_change_nothing(local, scenario, play, tmp_path) -> None:
    sections = {**SMALL, "local": local}
    whole = play(scenario(**sections)).result
    cut = play(scenario(**sections, compute={"backend": "local", "chunk": 1})).result
    assert (cut.weights_sha256, cut.metrics_sha256) == (whole.weights_sha256, whole.metrics_sha256)
    folder = RunFolder.create(tmp_path / "killed")

    def watch(event: object) -> None:
        if type(event).__name__ == "RoundDone":
            raise Killed

    with pytest.raises(Killed):
        run_scenario(scenario(**sections), folder, watch)
    assert resume_run(folder, lambda event: None).weights_sha256 == whole.weights_sha256


@pytest.mark.ray
@pytest.mark.parametrize("local", [MATCHING, MEANS], ids=lambda local: local["use"])
def test_two_workers_give_the_numbers_of_one(local, scenario, play, ray_session) -> None:
    here = play(scenario(**{**SMALL, "local": local})).result
    on_ray = {"backend": "ray", "workers": 2}
    there = play(scenario(**{**SMALL, "local": local, "compute": on_ray})).result
    assert (there.weights_sha256, there.metrics_sha256) == (
        here.weights_sha256,
        here.metrics_sha256,
    )


def test_nothing_leaves_without_noise(scenario, play) -> None:
    outcome = play(scenario(**SMALL))
    assert [dict(record.train) for record in outcome.rounds] == [{}, {}]
    assert "not for release" in " ".join(outcome.notes)
    assert (outcome.folder.path / "privacy.jsonl").is_file()


def turned(half, held, model) -> Update:
    instruction = Instruction(1, "match", ClientInfo(4, len(held)), Broadcast(weights_of(model)))
    under = half.under(PrivacyParameters(1.0, 2.0, "simulation"))
    update: Update = under.match(model, held, instruction, torch_stream(1, "client"))
    return update


@pytest.mark.parametrize("kind", [PrivateMatching, MeanEmbeddings])
def test_a_reply_says_neither_how_many_nor_how_well(kind, held, model) -> None:
    update = turned(kind(images_per_class=2, steps=2, count_noise=1.0), held, model)
    assert (update.examples, update.delta, dict(update.metrics), dict(update.memory)) == (
        1,
        {},
        {},
        {},
    )
    assert update.extras["synthetic"].keys() == {"images", "labels"}


@pytest.mark.parametrize("kind", [PrivateMatching, MeanEmbeddings])
def test_a_client_without_a_large_class_sends_an_empty_set(kind, held, model) -> None:
    sent = turned(kind(min_examples=500, count_noise=1.0), held, model).extras["synthetic"]
    assert (sent["images"].shape, sent["labels"].shape) == ((0, 1, 8, 8), (0,))


def test_all_that_is_released_is_declared() -> None:
    half = PrivateMatching(steps=30, sample_rate=0.2, count_noise=5.0)
    assert half.releases(1.5, 4) == (Release(1.5, 0.2, 120), Release(5.0, 1.0, 4))
    means = MeanEmbeddings(models=3, steps=500, count_noise=5.0)
    assert means.releases(1.5, 4) == (Release(1.5, 1.0, 12), Release(5.0, 1.0, 4))


def test_images_of_a_private_client_never_begin_as_real_ones(held, model) -> None:
    """With steps that go nowhere, what is sent is what they began as."""
    half = PrivateMatching(images_per_class=2, steps=1, image_lr=1e-9, count_noise=1.0)
    images = turned(half, held, model).extras["synthetic"]["images"]
    nearest = torch.cdist(images.flatten(1), held.inputs.flatten(1)).amin(dim=1) / 8
    assert bool((nearest > 0.9).all())


def test_without_the_section_privacy_it_is_refused(scenario, play) -> None:
    open_ = {name: said for name, said in SMALL.items() if name != "privacy"}
    with pytest.raises((QuorumLost, ScenarioError), match="needs the section privacy"):
        play(scenario(**open_))


def test_open_matching_under_privacy_is_refused(scenario) -> None:
    with pytest.raises(ScenarioError, match="adds no noise"):
        scenario(**{**SMALL, "local": {"use": "matching", "init": "real"}})
    with pytest.raises(ScenarioError, match="privacy"):
        scenario(**{**SMALL, "privacy": {**PRIVACY, "unit": "client"}})
