"""Files are YAML 1.2 and plain values, and what is dumped is read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.scenario.node import SourceLocation, dotted
from fedsim.scenario.yaml_file import dump, parse, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 100000.0), (".5", 0.5), ("-.5", -0.5), ("+1.", 1.0),
        ("12", 12), ("012", 12), ("-3", -3), ("0x1F", 31), ("0o17", 15), ("-0", 0),
        ("true", True), ("False", False), ("TRUE", True), ("null", None), ("~", None), ("", None),
        ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("off", "off"), ("y", "y"),
        ("12:30", "12:30"), ("2020-01-01", "2020-01-01"), ("1_000", "1_000"), ("0b1", "0b1"),
        ("'3'", "3"), ('"true"', "true"), (".", "."), ("e3", "e3"), ("10%", "10%"), ("=", "="),
        ("[1, a]", [1, "a"]), ("{a: {b: 2}}", {"a": {"b": 2}}),
    ],
)  # fmt: skip
def test_scalars_are_read_by_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    node, faults = parse(text, SourceLocation("here"))
    assert (node.plain(), faults) == (value, [])
    assert type(node.plain()) is type(value)


def test_every_value_knows_where_it_and_its_key_stand(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("\ufeffa:\n  b: [1,\n    x]\n", encoding="utf-8")
    root, _ = read(file)
    item = root.at(("a", "b", 1))
    assert item is not None
    assert (item.place.line, item.place.column, item.place.source) == (3, 5, "    x]")
    inner = root.at(("a", "b"))
    assert inner is not None
    assert (inner.key.line, inner.key.column) == (2, 3)


def test_an_alias_may_repeat_a_value(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: &x {lr: 1}\nb: *x\n")
    assert read(file)[0].plain() == {"a": {"lr": 1}, "b": {"lr": 1}}


def test_a_path_is_written_with_dots_and_brackets() -> None:
    assert [dotted(path) for path in [(), ("a",), ("a", "b", 2, "c")]] == ["", "a", "a.b[2].c"]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["1e-3", "no", "012", "0o7", "0x1", "~", "null", "12:30", "1_0", ".5", "<<"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text().filter(lambda key: key != "<<"), PLAIN, max_size=4))
def test_what_is_dumped_is_read_back(tmp_path_factory: pytest.TempPathFactory, value: dict) -> None:  # type: ignore[type-arg]
    node, faults = parse(dump(value), SourceLocation("here"))
    if not faults:  # a key << is refused, wherever it stands
        assert (node.plain() or {}) == value
    else:
        assert "merge keys" in faults[0].message
