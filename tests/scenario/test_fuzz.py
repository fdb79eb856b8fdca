"""Whatever stands in the file, it loads or it is a ScenarioError."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedsim.errors import ScenarioError
from fedsim.scenario.faults import render
from fedsim.scenario.inherit import presets
from fedsim.scenario.load import load
from fedsim.scenario.yaml_file import dump

RESOLVED = load(presets()["quickstart"]).resolved()
TEXT = dump(RESOLVED)

ODD = st.sampled_from(
    [None, True, 0, -1, 2**62, 0.1, 1e300, "", "all", "10%", "auto", "../x", "a\0", "Ω" * 200, [],
     [1], {}, {"use": 3}, {"use": "iid", "name": "x"}, "./no.py:No", "os:path", "sys:exit",
     "npz:no", "a:b:c", ":", ".py:", "preset:no", "preset:..", "hf:", {"use": None}]
) | st.text(max_size=8)  # fmt: skip


def paths(value: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return []
    return [p for k, v in value.items() for p in [(*above, k), *paths(v, (*above, k))]]


def outcome(file: Path, overrides: tuple[str, ...] = ()) -> str:
    try:
        return load(file, overrides).name
    except ScenarioError as error:
        return render(error.faults) if error.faults else ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(
    st.lists(st.tuples(st.sampled_from(paths(RESOLVED)), ODD, st.sampled_from("=-+")), max_size=3)
)
def test_a_mutated_scenario_loads_or_is_a_scenario_error(
    folder: Path, changes: list[tuple[tuple[str, ...], Any, str]]
) -> None:
    values = copy.deepcopy(RESOLVED)
    for (*above, last), odd, how in changes:
        section: Any = values
        for key in above:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.pop(last, None) if how == "-" else None
            new = copy.deepcopy(odd)  # a later change may go inside it
            section |= {"=": {last: new}, "+": {last + "x": new}, "-": {}}[how]
    file = folder / "mutated.yaml"
    file.write_text(dump(values), encoding="utf-8")
    assert outcome(file)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(TEXT)), st.integers(0, 5), st.text(max_size=4) | st.binary(max_size=4))
def test_a_scrambled_file_loads_or_is_a_scenario_error(
    folder: Path, at: int, gone: int, new: str | bytes
) -> None:
    raw = TEXT.encode()
    inserted = new if isinstance(new, bytes) else new.encode()
    file = folder / "scrambled.yaml"
    file.write_bytes(raw[:at] + inserted + raw[at + gone :])
    assert outcome(file)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(paths(RESOLVED)), st.text(max_size=10))
def test_any_override_loads_or_is_a_scenario_error(
    folder: Path, path: tuple[str, ...], value: str
) -> None:
    file = folder / "good.yaml"
    file.write_text(TEXT, encoding="utf-8")
    assert outcome(file, (f"{'.'.join(path)}={value}",))
    assert outcome(file, (value,))
