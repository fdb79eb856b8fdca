"""Ray gives the numbers of one process, and loses no client with a worker that dies."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]

NAUGHTY = f"{Path(__file__).parents[1] / 'naughty.py'}:Naughty"
LOCAL = {"lr": 0.1, "epochs": 1, "batch_size": 32}


def on_ray(**compute: object) -> dict[str, object]:
    return {"backend": "ray", "workers": 2, **compute}


@pytest.mark.parametrize(
    ("strategy", "compute"),
    [
        ("fedavg", {"workers": 1, "chunk": 1}),
        ("fedavg", {"chunk": 4}),
        ("scaffold", {}),
        ("fedmedian", {}),
    ],
    ids=str,
)
def test_ray_equals_one_process(strategy, compute, scenario, play) -> None:
    references = ["centralized", "local"]
    here = play(scenario(strategy=strategy, references=references)).result
    of = scenario(strategy=strategy, references=references, compute=on_ray(**compute))
    there = play(of).result
    assert there.weights_sha256 == here.weights_sha256
    assert there.metrics_sha256 == here.metrics_sha256
    assert there.references == here.references


LYING_AHEAD = {"workers": 1, "chunk": 1}
"""The next client's chunk always lies at the worker that ends."""


@pytest.mark.parametrize("compute", [{}, LYING_AHEAD], ids=str)
def test_a_worker_killed_once_costs_nothing(compute, scenario, play, tmp_path) -> None:
    local = {**LOCAL, "use": NAUGHTY, "how": "die", "once": str(tmp_path / "offended")}
    outcome = play(scenario(local=local, compute=on_ray(**compute)))
    assert outcome.result.weights_sha256 == play(scenario()).result.weights_sha256
    assert outcome.result.dropped == 0
    assert any("was replaced" in note for note in outcome.notes)


@pytest.mark.parametrize("compute", [{"chunk": 6}, LYING_AHEAD], ids=str)
def test_a_client_that_kills_its_worker_twice_is_set_aside_and_named(
    compute, scenario, play
) -> None:
    local = {**LOCAL, "use": NAUGHTY, "how": "die"}
    outcome = play(scenario(local=local, compute=on_ray(**compute)))
    first, second, third = outcome.rounds
    assert first.dropped == ()
    assert [(drop.client, drop.reason) for drop in second.dropped] == [
        (1, "its training killed its worker twice")
    ]
    assert [drop.client for drop in third.dropped] == [1]
    # Two deaths of its own; on a busy machine the reply before one of them can be lost with the
    # worker, and is then blamed on the client before, which is asked again and replies.
    assert sum("was replaced" in note for note in outcome.notes) >= 2


def test_a_client_that_hangs_is_dropped_at_its_deadline(scenario, play) -> None:
    local = {**LOCAL, "use": NAUGHTY, "how": "hang"}
    clients = {"count": 6, "deadline_s": 0.5}
    outcome = play(scenario(local=local, clients=clients, compute=on_ray()))
    assert [drop.reason for drop in outcome.rounds[1].dropped] == ["no reply within 0.5 s"]
    assert outcome.rounds[2].dropped == ()


def test_a_strategy_in_a_file_beside_the_scenario_runs_on_ray(scenario, play, tmp_path) -> None:
    (tmp_path / "my_idea.py").write_text(
        "from dataclasses import dataclass\n"
        "from fedsim.strategy import Strategy\n\n\n"
        "@dataclass(frozen=True)\n"
        "class MyIdea(Strategy):\n"
        "    def addends(self, update, client):\n"
        "        return {k: v for k, v in super().addends(update, client).items()}\n"
    )
    mine = play(scenario(strategy="./my_idea.py:MyIdea", compute=on_ray())).result
    assert mine.weights_sha256 == play(scenario()).result.weights_sha256


def test_ray_listens_on_the_loopback_interface_alone() -> None:
    ray = pytest.importorskip("ray")
    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
