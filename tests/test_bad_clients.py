"""A client that misbehaves is dropped from the round, named with its cause, and harms no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsim.errors import QuorumLost
from fedsim.runlog.events import Dropped

NAUGHTY = f"{Path(__file__).with_name('naughty.py')}:Naughty"
LOCAL = {"lr": 0.1, "epochs": 1, "batch_size": 32, "use": NAUGHTY}

CAUSES = {
    "raise": "ValueError: the sensor is broken (naughty.py:",
    "exit": "SystemExit: 3 (naughty.py:",
    "no update": "Naughty.train returned dict, not an Update",
    "nan": "not finite",
    "shape": "shape (1, 64) where (16, 64) was expected",
    "scalar": "shape () where (16, 64) was expected",
    "dtype": "dtype torch.float64 where torch.float32 was expected",
    "missing": "the delta lacks",
    "all missing": "the delta lacks",
    "extra": "the delta has more, which the model does not have",
    "weight": "claims 1000000000000000000 examples, but holds",
    "negative": "claims -5 examples",
    "huge": "larger than 2**30 after weighting",
    "hang": "no reply within 0.5 s",
    "spin": "no reply within 0.5 s",
}


@pytest.mark.parametrize("how", CAUSES)
def test_is_dropped_named_and_harms_no_other(how, scenario, play) -> None:
    clients = {"count": 6, "deadline_s": 0.5}
    outcome = play(scenario(local={**LOCAL, "how": how}, clients=clients))
    dropped = [drop for record in outcome.rounds for drop in record.dropped]
    assert [(drop.client, drop.phase) for drop in dropped] == [(1, "train")]
    assert CAUSES[how] in dropped[0].reason
    assert "\n" not in dropped[0].reason
    assert outcome.result.dropped == 1
    assert outcome.result.accuracy > 0.3


def test_what_a_dropped_client_did_leaves_no_trace(scenario, play) -> None:
    results = {
        how: play(scenario(local={**LOCAL, "how": how})).result.weights_sha256
        for how in ("raise", "nan", "shape", "weight")
    }
    assert len(set(results.values())) == 1


def test_a_metric_that_is_not_finite_stays_out_of_the_mean(scenario, play) -> None:
    outcome = play(scenario(local={**LOCAL, "how": "inf metric"}))
    assert all(0 < record.train["loss"] < 10 for record in outcome.rounds)
    assert outcome.result.dropped == 0


def test_below_the_quorum_the_run_stops_and_can_be_resumed(scenario, play, tmp_path) -> None:
    from fedsim.engine.run import resume_run
    from fedsim.runlog.run_folder import RunFolder

    once = str(tmp_path / "offended")
    local = {**LOCAL, "how": "raise", "once": once}
    clients = {"count": 6, "min_replies": 6}
    with pytest.raises(QuorumLost, match=r"round 2: 5 of 6 clients replied.*client 1: ValueErr"):
        play(scenario(local=local, clients=clients))
    folder = RunFolder.open(tmp_path / "runs" / "small")
    assert [record.round for record in folder.rounds()] == [1]
    undisturbed = play(scenario(local=local, clients=clients)).result
    assert resume_run(folder, lambda event: None).weights_sha256 == (undisturbed.weights_sha256)


def test_every_strategy_survives_a_bad_client(scenario, play) -> None:
    for strategy in ("fedmedian", "fedadam"):
        outcome = play(scenario(strategy=strategy, local={**LOCAL, "how": "missing"}))
        assert outcome.rounds[1].dropped[0].client == 1
        assert isinstance(outcome.rounds[1].dropped[0], Dropped)
