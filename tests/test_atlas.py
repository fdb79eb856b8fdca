"""What evaluation sees of domains: confusions, counts and maps that no training touches."""

from __future__ import annotations

import json

import numpy as np

from fedsim.engine.domain_evaluation import plane
from fedsim.runlog import tables

DOMAINS = {
    "data": {
        "source": {"use": "digits_domains", "domains": ["plain", "blurred"]},
        "partition": {"use": "domains", "clients_per_domain": 2, "targets": ["blurred"]},
    },
    "clients": {},
}
TALKS = '''\
"""A strategy with something to look at."""
from dataclasses import dataclass

import torch

from fedsim.strategy import Strategy


@dataclass(frozen=True)
class Talks(Strategy):
    def tables(self, state):
        return {"ratios": {"plain>blurred": torch.ones(10) * state.round}}
'''


def test_a_run_with_a_target_keeps_what_evaluation_saw_of_its_domains(play, scenario) -> None:
    done = play(scenario(**DOMAINS))
    said = done.folder.read_json("domains.json")
    assert said["roles"] == {"plain": "source", "blurred": "target"}
    for name, accuracy in done.result.domains.items():
        table = np.array(said["confusion"][name])
        assert np.trace(table) / table.sum() == accuracy
    dealt = done.folder.read_json("partition.json")["clients"]
    for name, counts in said["counts"].items():
        labels = [one["labels"] for one in dealt if one["domain"] == name]
        assert counts == np.sum(labels, axis=0).tolist()
    before, after = said["maps"]["before"], said["maps"]["after"]
    assert before["label"] == after["label"]
    assert np.shape(before["at"]) == (len(before["domain"]), 2)
    assert before["at"] != after["at"]


def test_it_changes_no_number_of_the_run(play, scenario) -> None:
    one, other = play(scenario(**DOMAINS)), play(scenario(**DOMAINS))
    assert one.result.weights_sha256 == other.result.weights_sha256
    assert (one.folder.path / "domains.json").read_bytes() == (
        other.folder.path / "domains.json"
    ).read_bytes()


def test_a_run_without_a_target_keeps_nothing_of_the_kind(play, scenario) -> None:
    folder = play(scenario()).folder.path
    assert not (folder / "domains.json").exists()
    assert not (folder / "tables.jsonl").exists()


def test_a_strategys_tables_are_kept_round_by_round(play, scenario, tmp_path) -> None:
    (tmp_path / "talks.py").write_text(TALKS)
    folder = play(scenario(strategy="./talks.py:Talks")).folder
    known = tables.read(folder.path, "ratios")
    assert {number: one["plain>blurred"][0] for number, one in known.items()} == {1: 1, 2: 2, 3: 3}
    assert tables.read(folder.path, "others") == {}


def test_the_turns_of_the_last_round_are_kept_in_order(play, scenario) -> None:
    done = play(scenario())
    said = done.folder.read_json("timeline.json")
    assert said["round"] == 3
    turns = [dict(zip(said["columns"], row, strict=True)) for row in said["turns"]]
    assert sorted(one["client"] for one in turns if one["phase"] == "train") == [*range(6)]
    assert turns[0]["start"] == 0
    starts = [one["start"] for one in turns]
    assert starts == sorted(starts)
    assert all(one["seconds"] > 0 and one["worker"] == 0 for one in turns)
    assert "seconds" not in json.dumps(done.rounds[-1].train)


def test_the_plane_is_that_of_the_most_variance() -> None:
    generator = np.random.default_rng(1)
    wide = generator.normal(size=(200, 5)) * [5, 0.1, 3, 0.1, 0.1]
    placed = plane(wide)
    assert np.allclose(placed.std(axis=0), wide[:, [0, 2]].std(axis=0), rtol=0.05)
    assert np.array_equal(plane(wide), placed)
    assert plane(np.zeros((4, 1))).tolist() == [[0.0, 0.0]] * 4
