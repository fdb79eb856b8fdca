"""What a scenario may say: in words for people, and as a JSON schema for editors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_origin

from pydantic import TypeAdapter
from pydantic_core import PydanticUndefined

from fedsim.errors import Fault, ScenarioError
from fedsim.plugins import registry
from fedsim.plugins.signature import COMPUTED, REQUIRED, Parameter, Signature
from fedsim.scenario.keys import field_at, fields, known_at, type_of
from fedsim.scenario.node import dotted
from fedsim.scenario.renamed_keys import new_name
from fedsim.scenario.yaml_file import dump
from fedsim.schema.part import Part, nested_kind
from fedsim.schema.scenario import PARTS, Scenario
from fedsim.schema.wording import did_you_mean, expected

__all__ = ["DIALECT", "explain", "facts", "json_schema", "page", "part_schema", "unknown"]

Row = tuple[str, str]
Schema = dict[str, Any]

DIALECT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
NESTED = ("augmentation", "optimizer", "schedule", "stop_rule")
"""Kinds of plug-ins that are parameters of others."""
ELSEWHERE = r":|/"
"""Names of plug-ins elsewhere: ``package.module:Class``, ``./file.py:Class``, ``npz:PATH``."""


def explain(key: str = "") -> str:
    """Return what a scenario may say under ``key``.

    Args:
        key: dotted: ``clients.per_round``, ``strategy``, ``strategy.fedprox``,
            ``strategy.fedprox.mu``; ``strategy.mu`` gives every strategy that has a ``mu``;
            empty for the whole file.

    Raises:
        ScenarioError: if there is no such key; names the nearest.
    """
    path = tuple(key.split(".")) if key else ()
    for length in range(len(path), -1, -1):
        if path[:length] in PARTS:
            return _explain_part(path[:length], path[length:])
    if path and field_at(path) is None:
        raise unknown(key, [dotted(known) for known, _ in fields()])
    return _explain_key(path)


def _explain_key(path: tuple[str, ...]) -> str:
    rows = [(name, _of_field((*path, name))) for name in known_at(path)]
    field = field_at(path)
    if field is None:
        return page("A scenario file may have", "", rows)
    if rows:
        return page(dotted(path), field.description or "", rows)
    return page(dotted(path), _of_field(path), [])


def _of_field(path: tuple[str, ...]) -> str:
    field = field_at(path)
    if field is None:
        return ""
    default = field.get_default(call_default_factory=True)
    if known_at(path):
        return field.description or ""
    return f"{field.description} {facts(expected(type_of(path)), default)}"


def facts(accepted: str, default: object) -> str:
    """Return what a value may be and what it is by default, in parentheses."""
    if default is PydanticUndefined or default is REQUIRED:
        return f"({accepted}; required)"
    if default is COMPUTED:
        return f"({accepted}; has a default)"
    return f"({accepted}; default {_written(default)})"


def _written(value: object) -> str:
    if isinstance(value, Part):
        return value.use
    plain = list(value) if isinstance(value, tuple) else value
    if not isinstance(plain, str | int | float | bool | list | dict | None):
        return str(plain)
    return dump({"_": plain}, flat=True).removeprefix("{_: ").rstrip().removesuffix("}")


def _explain_part(path: tuple[str, ...], steps_below: tuple[str, ...]) -> str:
    kind = PARTS[path]
    names = registry.names(kind)
    if not steps_below:
        rows = [(name, registry.describe(kind, name).about) for name in names]
        return page(dotted(path), _of_field(path), rows)
    if steps_below[0] in names and len(steps_below) <= 2:
        return _explain_plugin(path, registry.describe(kind, steps_below[0]), steps_below)
    pages = [
        _explain_plugin(path, signature, (name, steps_below[0]))
        for name in names
        if steps_below[0] in (signature := registry.describe(kind, name)).parameters
        and len(steps_below) == 1
    ]
    if pages:
        return "\n".join(pages)
    choices = [dotted((*path, *steps)) for steps in _parts_and_parameters(kind, names)]
    raise unknown(dotted((*path, *steps_below)), choices)


def _parts_and_parameters(kind: str, names: Iterable[str]) -> Iterable[tuple[str, ...]]:
    for name in names:
        yield (name,)
        for parameter in registry.describe(kind, name).parameters:
            yield from ((parameter,), (name, parameter))


def _explain_plugin(
    path: tuple[str, ...], signature: Signature, steps_below: tuple[str, ...]
) -> str:
    title = dotted((*path, *steps_below))
    if len(steps_below) == 1:
        rows = [
            (name, _of_parameter(parameter)) for name, parameter in signature.parameters.items()
        ]
        client = f" Its clients run {signature.client!r}." if signature.client else ""
        return page(title, signature.doc + client, rows)
    if steps_below[1] not in signature.parameters:
        names = [dotted((*path, steps_below[0], name)) for name in signature.parameters]
        raise unknown(title, names)
    return page(title, _of_parameter(signature.parameters[steps_below[1]]), [])


def _of_parameter(parameter: Parameter) -> str:
    return f"{parameter.doc} {facts(expected(parameter.type), parameter.default)}".strip()


def page(title: str, text: str, rows: list[Row]) -> str:
    """Return a title with its text, and below it the rows in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    head = f"{title}: {text}" if text else title
    return "\n".join([head, *(f"  {name.ljust(width)}  {_line(words)}" for name, words in rows)])


def _line(text: str) -> str:
    return " ".join(text.split())


def unknown(key: str, keys: list[str]) -> ScenarioError:
    """Return the error for a key that is not among ``keys``, with the nearest that is."""
    last = key.rpartition(".")[2]
    namesakes = [candidate for candidate in keys if candidate.rpartition(".")[2] == last]
    new = new_name(key)
    hint = f"it is now called {new!r}" if new else did_you_mean(key, namesakes or keys)
    return ScenarioError([Fault("", 0, 0, key, "there is no such key", hint)])


def json_schema() -> Schema:
    """Return the schema of scenario files, with the plug-ins that are installed here."""
    schema = Scenario.model_json_schema(by_alias=True)
    sections = schema["$defs"]
    sections.pop("Part")
    sections |= {f"{kind} part": part_schema(kind) for kind in NESTED}
    for (*above, name), kind in PARTS.items():
        section = sections[_definition(schema["properties"][above[0]])] if above else schema
        field = section["properties"][name]
        sections[f"{kind} part"] = part_schema(kind)
        may_be = [{"$ref": f"#/$defs/{kind} part"}]
        if kind == "shift":
            may_be.append({"type": "null"})
        section["properties"][name] = {"description": field["description"], "anyOf": may_be}
    return DIALECT | schema


def _definition(field: Schema) -> str:
    """Return the name of the definition that a section's field refers to."""
    refers = field if "$ref" in field else field["allOf"][0]
    return str(refers["$ref"]).rpartition("/")[2]


def part_schema(kind: str) -> Schema:
    """Return the schema of a plug-in part: a name, or a mapping with its parameters."""
    names = registry.names(kind)
    name = {"anyOf": [{"enum": names}, {"type": "string", "pattern": ELSEWHERE}]}
    # The strategy names a rule, and one rule for the end of a turn is meant where none is named.
    needs_name: list[Schema] = (
        [] if kind in ("client", "stop_rule") else [{"required": ["use"]}, {"required": ["name"]}]
    )
    mapping: Schema = {
        "type": "object",
        "properties": {"use": name, "name": name},
        "allOf": [_when_used(kind, word, plugin) for plugin in names for word in ("use", "name")],
    }
    if needs_name:
        mapping["oneOf"] = needs_name
    return {"anyOf": [name, mapping]}


def _when_used(kind: str, word: str, name: str) -> Schema:
    """Return the rule for the parameters of the plug-in ``name``."""
    signature = registry.describe(kind, name)
    parameters = {
        parameter.name: _parameter(parameter) for parameter in signature.parameters.values()
    }
    required = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.default is REQUIRED
    ]
    return {
        "if": {"properties": {word: {"const": name}}, "required": [word]},
        "then": {
            "description": signature.doc,
            "properties": {word: {}, **parameters},
            "required": required,
            "additionalProperties": False,
        },
    }


def _parameter(parameter: Parameter) -> Schema:
    if kind := nested_kind(parameter.type):
        part: Schema = {"$ref": f"#/$defs/{kind} part"}
        is_list = get_origin(parameter.type) is tuple
        refers: Schema = {"anyOf": [part, {"type": "null"}]}
        if is_list:
            refers = {"type": "array", "items": part}
        return refers | {"description": parameter.doc}
    schema = TypeAdapter(parameter.type).json_schema()
    if parameter.default not in (REQUIRED, COMPUTED):
        schema["default"] = parameter.plain(parameter.default)
    return schema | ({"description": parameter.doc} if parameter.doc else {})
