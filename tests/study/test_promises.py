"""What a study's plan says of epsilon before anything runs."""

from __future__ import annotations

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario.study_file import load_study
from fedsim.study.privacy_costs import privacy_costs

pytest.importorskip("dp_accounting", reason="the extra `dp` is not installed")

METHODS = (
    "{plain: {strategy: fedavg}, "
    "noisy: {privacy: {unit: client, clip: 1.0, noise_multiplier: 2.0, delta: 1.0e-2}}, "
    "noisier: {privacy: {unit: client, clip: 1.0, noise_multiplier: 4.0, delta: 1.0e-2}}}"
)
FEW = (
    "set: {clients.count: 20, clients.per_round: 5, evaluation.clients: 0,"
    " data.holdout.client_val: 20%}\n"
)


def test_each_promise_is_said_once_with_whom_it_is_of(study_file) -> None:
    study = load_study(study_file(METHODS, "[1, 2]", FEW))
    said = privacy_costs(study, lambda scenario: scenario.clients.count or 0)
    assert [line.partition(" for one ")[2] for line in said] == [
        "client at delta 0.01: noisy mild, noisy severe",
        "client at delta 0.01: noisier mild, noisier severe",
    ]
    first, second = (float(line.split()[1]) for line in said)
    assert first > second > 0


def test_what_a_search_spends_is_said_to_be_covered_by_nothing(study_file) -> None:
    tune = "tune: {space: {local.lr: {log: [0.1, 1]}}, trials: 2}\n"
    with pytest.raises(ScenarioError, match="would leave the clients without noise"):
        load_study(study_file(METHODS, "[1]", FEW + tune))
    said = METHODS.replace("unit:", "metrics: simulation, unit:")
    found = privacy_costs(load_study(study_file(said, "[1]", FEW + tune)), lambda _: 20)
    assert found[-1].endswith("no statement covers them")


def test_where_nothing_is_promised_nothing_is_said(study_file) -> None:
    assert privacy_costs(load_study(study_file()), lambda _: 4) == []
