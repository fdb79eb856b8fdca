"""Every key of a study file can be explained, and editors get the same as a schema."""

from __future__ import annotations

import json

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario.explain_study import explain_study, study_schema
from fedsim.scenario.study_schema import Compare, StudyHeader
from fedsim.scenario.tune import Tune


def test_every_key_of_a_study_has_a_sentence() -> None:
    top = [field.alias or name for name, field in StudyHeader.model_fields.items()]
    inner = [f"report.{name}" for name in Compare.model_fields]
    inner += [f"tune.{name}" for name in Tune.model_fields]
    for key in [*top, *inner]:
        assert explain_study(key).startswith(f"{key}: ")
        assert "None" not in explain_study(key)
        assert key.rpartition(".")[2] in explain_study(key.rpartition(".")[0])


def test_a_key_is_told_with_what_it_may_be_and_its_default() -> None:
    assert explain_study("report.ci").endswith("(a number >= 0.5 and < 1; default 0.95)")
    assert "required)" in explain_study("seeds")
    assert "correction" in explain_study("report")


def test_an_unknown_key_of_a_study_is_told_the_nearest() -> None:
    with pytest.raises(ScenarioError) as caught:
        explain_study("report.primry")
    assert caught.value.faults[0].hint == "did you mean 'report.primary'?"


def test_the_schema_of_a_study_knows_the_strategies_and_every_reference_leads_somewhere() -> None:
    schema = study_schema()
    text = json.dumps(schema)
    named = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert named <= set(schema["$defs"])
    assert "fedprox" in schema["$defs"]["strategy part"]["anyOf"][0]["anyOf"][0]["enum"]
    assert schema["properties"]["seeds"]["description"].startswith("Every cell")
