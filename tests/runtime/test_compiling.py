"""Local steps in bfloat16 and as compiled code: other bits, the same learning, and it is said."""

from __future__ import annotations

import shutil

import pytest

from fedsim.engine.run import resume_run
from fedsim.runlog.run_folder import RunFolder
from fedsim.runtime.compiling import COMPILED

HAS_COMPILER = shutil.which("g++") is not None

needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="needs a C++ compiler")
# PyTorch's own modules say so when they are loaded.
old_torch = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def on(**compute: object) -> dict[str, object]:
    return {"backend": "local", **compute}


@old_torch
@needs_compiler
def test_a_compiled_run_is_the_same_up_to_rounding_and_repeats_itself(scenario, play) -> None:
    plain = play(scenario())
    runs = [play(scenario(compute=on(compile="on"))) for _ in range(2)]
    assert "local steps are compiled" in runs[0].notes[0]
    assert runs[0].folder.read_json(COMPILED)["use"]
    assert len({run.result.weights_sha256 for run in runs}) == 1
    for one, other in zip(plain.rounds, runs[0].rounds, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)


@old_torch
@needs_compiler
def test_a_resumed_run_keeps_to_what_was_found(scenario, play, tmp_path, run_killed_at) -> None:
    of = scenario(compute=on(compile="on"))
    folder = RunFolder.create(tmp_path / "killed")
    run_killed_at(of, folder, 3)
    folder.write(COMPILED, {**folder.read_json(COMPILED), "use": False, "note": ""})
    resumed = resume_run(folder, lambda event: None)
    assert resumed.weights_sha256 == play(scenario()).result.weights_sha256


@old_torch
def test_without_a_compiler_it_goes_on_without(scenario, play, monkeypatch) -> None:
    import torch._dynamo
    from torch._inductor import config

    torch._dynamo.reset()
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    monkeypatch.setattr(config.cpp, "cxx", ("no such compiler",))
    outcome = play(scenario(compute=on(compile="on")))
    assert outcome.result.weights_sha256 == play(scenario()).result.weights_sha256
    assert len(outcome.notes) == 1
    assert "nothing is compiled" in outcome.notes[0]
    assert "compiler" in outcome.notes[0]


def test_auto_compiles_nothing_for_a_short_run(scenario, play) -> None:
    outcome = play(scenario(compute=on(compile="auto")))
    assert outcome.result.weights_sha256 == play(scenario()).result.weights_sha256
    assert "too little to repay compiling" in outcome.notes[0]


def test_stacks_are_not_compiled(scenario, play) -> None:
    stacked = play(scenario(compute=on(cohort=4, compile="on")))
    assert "train in the same steps" in stacked.notes[0]
    alone = play(scenario(compute=on(cohort=4))).result
    assert stacked.result.weights_sha256 == alone.weights_sha256


def test_bfloat16_learns_the_same_from_other_numbers(scenario, play) -> None:
    plain, narrow = (play(scenario(compute=on(precision=p))) for p in ("float32", "bf16"))
    assert narrow.notes == []
    assert narrow.result.weights_sha256 != plain.result.weights_sha256
    for one, other in zip(plain.rounds, narrow.rounds, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=0.02)
    again = play(scenario(compute=on(precision="bf16", chunk=2)))
    assert again.result.weights_sha256 == narrow.result.weights_sha256


@pytest.mark.parametrize(
    ("client", "strategy"),
    [
        ({"images_per_class": 2, "steps": 2, "real_batch": 16}, {"use": "feddm", "epochs": 2}),
        ({"lr": 0.05}, {"use": "dann", "adversary_steps": 1}),
        ({"lr": 0.05}, "jan"),
        ({"lr": 0.05}, "dmpn"),
    ],
    ids=["feddm", "dann", "jan", "dmpn"],
)
def test_halves_that_call_parts_of_a_model_multiply_in_bfloat16_too(
    client, strategy, scenario, play
) -> None:
    both = {"use": "digits_domains", "domains": ["plain", "rotated"]}
    domains = {"source": both, "partition": {"use": "domains", "targets": ["rotated"]}}
    of = {"data": domains, "model": {"use": "convnet", "width": 4, "depth": 1}, "rounds": 2}
    of |= {"local": client, "strategy": strategy, "clients": {}}
    plain, narrow = (play(scenario(**of, compute=on(precision=p))) for p in ("float32", "bf16"))
    assert narrow.result.weights_sha256 != plain.result.weights_sha256
    assert narrow.rounds[-1].loss == pytest.approx(plain.rounds[-1].loss, rel=0.1)


def test_bfloat16_is_not_stacked_and_says_so(scenario, play) -> None:
    stacked = play(scenario(compute=on(precision="bf16", cohort=4)))
    assert stacked.notes == ["clients train one by one: stacks are computed in float32 only"]
    alone = play(scenario(compute=on(precision="bf16")))
    assert stacked.result.weights_sha256 == alone.result.weights_sha256


@old_torch
@needs_compiler
@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_workers_compute_what_this_process_does(scenario, play) -> None:
    narrow = {"compile": "on", "precision": "bf16"}
    here = play(scenario(compute=on(**narrow))).result
    there = play(scenario(compute={"backend": "ray", "workers": 2, **narrow})).result
    assert there.weights_sha256 == here.weights_sha256
    assert there.metrics_sha256 == here.metrics_sha256
