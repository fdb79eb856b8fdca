"""Every key, plug-in and parameter can be explained, and editors get the same as a schema."""

from __future__ import annotations

import json

import pytest

from fedsim.errors import ScenarioError
from fedsim.plugins import registry
from fedsim.scenario.key_help import explain, json_schema
from fedsim.scenario.keys import fields
from fedsim.scenario.node import dotted
from fedsim.schema.scenario import PARTS


@pytest.mark.parametrize("key", [dotted(path) for path, _ in fields()])
def test_every_key_of_the_schema_has_a_sentence(key: str) -> None:
    assert explain(key).startswith(f"{key}: ")
    assert "None" not in explain(key)


def test_every_plug_in_and_every_parameter_is_explained() -> None:
    for path, kind in PARTS.items():
        for name in registry.names(kind):
            part = dotted((*path, name))
            assert explain(part).startswith(f"{part}: ")
            for parameter in registry.describe(kind, name).parameters:
                assert explain(f"{part}.{parameter}").startswith(f"{part}.{parameter}: ")


def test_a_parameter_is_told_with_its_type_and_default() -> None:
    assert explain("strategy.fedprox.mu").endswith("(a number >= 0; default 0.01)")
    assert explain("rounds") == "rounds: How many rounds are run. (a whole number >= 1; required)"


def test_a_parameter_without_a_plug_in_is_told_for_all_that_have_it() -> None:
    assert "local.sgd.lr: " in explain("local.lr")
    assert "local.proximal.lr: " in explain("local.lr")


def test_nothing_explains_the_whole_file() -> None:
    assert "rounds" in explain()


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("client.count", "clients.count"),
        ("per_round", "clients.per_round"),
        ("strategy.fedprx", "strategy.fedprox"),
        ("strategy.fedprox.nu", "strategy.fedprox.mu"),
        ("local.epohcs", "local.epochs"),
    ],
)
def test_an_unknown_key_is_told_the_nearest(key: str, meant: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        explain(key)
    assert caught.value.faults[0].hint == f"did you mean {meant!r}?"


def test_the_json_schema_knows_the_plug_ins_and_their_parameters() -> None:
    schema = json.loads(json.dumps(json_schema()))
    strategy = schema["$defs"]["strategy part"]["anyOf"]
    assert "fedprox" in strategy[0]["anyOf"][0]["enum"]
    rules = {rule["if"]["properties"]["use"]["const"]: rule["then"]
             for rule in strategy[1]["allOf"] if "use" in rule["if"]["properties"]}  # fmt: skip
    assert rules["fedprox"]["properties"]["mu"]["minimum"] == 0
    assert schema["properties"]["rounds"]["description"] == "How many rounds are run."
    assert schema["additionalProperties"] is False


def test_every_reference_in_the_json_schema_leads_somewhere() -> None:
    schema = json_schema()
    text = json.dumps(schema)
    named = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert named <= set(schema["$defs"])
