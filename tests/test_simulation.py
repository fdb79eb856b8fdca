"""A run is a function of its scenario: whatever the workers, chunks, stops and restarts."""

from __future__ import annotations

import pytest

from fedsim.engine.run import resume_run
from fedsim.runlog.events import Event, RoundDone
from fedsim.runlog.run_folder import RunFolder

STRATEGIES = (
    "fedavg",
    "scaffold",
    "fedadam",
    "fedmedian",
    {"use": "flwr.serverapp.strategy:FedAvgM", "server_momentum": 0.9},
    {"use": "flwr.serverapp.strategy:FedYogi"},
)


def test_the_same_seed_gives_the_same_run_and_another_does_not(scenario, play) -> None:
    first, again, other = (play(scenario(seed=seed)).result for seed in (7, 7, 8))
    assert (first.weights_sha256, first.metrics_sha256) == (
        again.weights_sha256,
        again.metrics_sha256,
    )
    assert first.weights_sha256 != other.weights_sha256


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_chunks_change_nothing(chunk, scenario, play) -> None:
    whole = play(scenario(compute={"backend": "local", "chunk": 100})).result
    cut = play(scenario(compute={"backend": "local", "chunk": chunk})).result
    assert cut.weights_sha256 == whole.weights_sha256
    assert cut.metrics_sha256 == whole.metrics_sha256


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_a_run_killed_anywhere_resumes_to_the_same_end(
    strategy, scenario, play, tmp_path, run_killed_at
) -> None:
    of = scenario(strategy=strategy, references=["local"], checkpoint={"every": 2})
    whole = play(of)
    for number in range(1, len(whole.events)):
        folder = RunFolder.create(tmp_path / f"killed {number}")
        run_killed_at(of, folder, number)
        result = resume_run(folder, lambda event: None)
        assert result.weights_sha256 == whole.result.weights_sha256, number
        assert result.metrics_sha256 == whole.result.metrics_sha256, number
        assert result.references == whole.result.references, number


def test_a_damaged_checkpoint_is_passed_over(scenario, play, tmp_path, run_killed_at) -> None:
    of = scenario()
    folder = RunFolder.create(tmp_path / "damaged")
    run_killed_at(of, folder, 5)
    newest = sorted(folder.checkpoints.iterdir())[-1] / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-7])
    events: list[Event] = []
    result = resume_run(folder, events.append)
    assert result.weights_sha256 == play(of).result.weights_sha256
    assert any("damaged" in getattr(event, "text", "") for event in events)


def test_resuming_a_finished_run_repeats_its_result(scenario, play) -> None:
    outcome = play(scenario())
    assert resume_run(outcome.folder, lambda event: None) == outcome.result


def test_the_events_tell_the_whole_story_in_order(scenario, play) -> None:
    outcome = play(scenario(references=["centralized", "local"]))
    kinds = [type(event).__name__ for event in outcome.events]
    assert kinds == ["Data", "Started", *3 * ["RoundDone"], *2 * ["ReferenceDone"], "Finished"]


def test_the_folder_holds_what_was_heard(scenario, play) -> None:
    outcome = play(
        scenario(
            evaluation={"clients": 2, "targets": {"accuracy": 0.3, "loss": 0.0}},
            data={"source": "digits", "holdout": {"client_test": "20%"}},
        )
    )
    heard = [event.record for event in outcome.events if isinstance(event, RoundDone)]
    assert outcome.rounds == heard
    assert outcome.folder.result() == outcome.result
    names = {path.name for path in outcome.folder.path.iterdir()}
    assert names >= {
        "scenario.resolved.yaml",
        "manifest.json",
        "rounds.jsonl",
        "clients.parquet",
        "partition.json",
        "partition.svg",
        "checkpoints",
        "model.safetensors",
        "result.json",
    }
    assert [bool(record.clients) for record in heard] == [False, True, True]
    assert outcome.result.targets["accuracy"]["round"] is not None
    assert outcome.result.targets["loss"] == {"round": None, "bytes": None}


def test_client_evaluations_add_up(scenario, play) -> None:
    import pandas as pd

    data = {"source": "digits", "holdout": {"client_test": "20%"}}
    outcome = play(scenario(evaluation={"clients": 3}, data=data))
    frame = pd.read_parquet(outcome.folder.path / "clients.parquet")
    last = outcome.rounds[-1].clients
    assert len(frame) == 6
    assert frame["accuracy"].mean() == pytest.approx(last["accuracy_uniform"])
    assert (frame["accuracy"] * frame["examples"]).sum() / frame["examples"].sum() == (
        pytest.approx(last["accuracy"])
    )
    assert frame["accuracy"].min() == pytest.approx(last["accuracy_worst_10"])


def test_bytes_are_those_of_the_messages(scenario, play) -> None:
    outcome = play(scenario(rounds=1))
    floats = 4 * (64 * 16 + 16 + 16 * 10 + 10)
    framing = outcome.rounds[0].bytes_up - 6 * floats
    assert 0 < framing < 6 * 1000
    assert outcome.rounds[0].bytes_down >= 6 * floats


def test_a_strategy_in_a_file_beside_the_scenario_runs(scenario, play, tmp_path) -> None:
    (tmp_path / "my_idea.py").write_text(
        "from dataclasses import dataclass\n"
        "from fedsim.strategy import Server, ServerState, Strategy\n"
        "from fedsim.wire import Merged\n\n\n"
        "@dataclass(frozen=True)\n"
        "class MyIdea(Strategy):\n"
        "    half: float = 0.5\n\n"
        "    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:\n"
        "        return state.moved({k: self.half * v for k, v in merged.delta.items()})\n"
    )
    mine = play(scenario(strategy={"use": "./my_idea.py:MyIdea", "half": 1.0})).result
    assert mine.weights_sha256 == play(scenario()).result.weights_sha256


def test_the_centralized_reference_is_one_client_with_everything(scenario, play) -> None:
    alone = scenario(
        clients={"count": 1},
        data={"source": "digits", "partition": "iid"},
        references=["centralized", "local"],
    )
    result = play(alone).result
    assert result.references["centralized"] == pytest.approx(result.references["local"], abs=0.03)


def test_a_strategy_that_raises_stops_the_run_before_its_round(scenario, play, tmp_path) -> None:
    from fedsim.errors import RunError

    (tmp_path / "broken.py").write_text(
        "from dataclasses import dataclass\n"
        "from fedsim.strategy import Strategy\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Broken(Strategy):\n"
        "    def step(self, state, merged, server):\n"
        "        if state.round == 2:\n"
        "            raise KeyError('momentum')\n"
        "        return state.moved(merged.delta)\n"
    )
    with pytest.raises(RunError, match=r"round 2: Broken.step raised KeyError.*broken.py:\d+"):
        play(scenario(strategy="./broken.py:Broken"))
    assert len(RunFolder.open(tmp_path / "runs" / "small").rounds()) == 1
