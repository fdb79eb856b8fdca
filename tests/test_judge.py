"""On what a model is judged: the clients' test parts, or validation parts that may choose."""

from __future__ import annotations

import pytest

from fedsim.errors import ScenarioError

HELD = {"client_val": "20%", "client_test": "10%"}


def test_validation_parts_are_those_of_the_sources_alone(play, scenario) -> None:
    data = {
        "source": {"use": "digits_domains", "domains": ["plain", "blurred"]},
        "partition": {"use": "domains", "clients_per_domain": 2, "targets": ["blurred"]},
        "holdout": HELD,
    }
    seen = {}
    for part in ("test", "val"):
        of = scenario(data=data, clients={}, evaluation={"clients": 3, "part": part})
        done = play(of)
        seen[part] = done.rounds[-1].clients["examples"]
    sizes = done.folder.read_json("partition.json")["clients"]
    trained = sum(one["examples"] for one in sizes if one["role"] == "source")
    assert seen["val"] == pytest.approx(trained * 20 / 70, rel=0.05)
    assert seen["test"] == pytest.approx(2 * trained * 10 / 70, rel=0.05)


def test_parts_that_nobody_holds_are_refused(scenario) -> None:
    data = {"source": "digits", "holdout": {"client_test": "10%"}}
    with pytest.raises(ScenarioError) as caught:
        scenario(data=data, evaluation={"clients": 1, "part": "val"})
    (fault,) = caught.value.faults
    assert (fault.key, fault.message) == (
        "evaluation.clients",
        "the clients have no val parts: data.holdout.client_val is 0%",
    )
