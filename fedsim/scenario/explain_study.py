"""What a study may say: in words for people, and as a JSON schema for editors."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedsim.scenario.key_help import DIALECT, Schema, facts, page, part_schema, unknown
from fedsim.scenario.study_schema import StudyHeader
from fedsim.schema.wording import expected

__all__ = ["explain_study", "study_schema"]


def explain_study(key: str = "") -> str:
    """Return what a study file may say under ``key``, such as ``report.primary``.

    Raises:
        ScenarioError: if there is no such key; names the nearest.
    """
    top = _fields(StudyHeader)
    below = {name: _fields(kind) for name, field in top.items() if (kind := _section(field))}
    keys = dict(top)
    for name, fields in below.items():
        keys |= {f"{name}.{inner}": field for inner, field in fields.items()}
    if not key:
        rows = [(name, _description(field)) for name, field in top.items()]
        return page("A study file may have", "", rows)
    if key not in keys:
        raise unknown(key, list(keys))
    rows = [(name, _description(field)) for name, field in below.get(key, {}).items()]
    return page(key, _description(keys[key]), rows)


def study_schema() -> Schema:
    """Return the schema of study files, with the strategies that are installed here."""
    schema = StudyHeader.model_json_schema(by_alias=True)
    strategy = "strategy part"
    schema["$defs"] |= {
        strategy: part_schema("strategy"),
        "levels": {"type": "object", "additionalProperties": {"type": "object"}},
    }
    strategies = {"type": "array", "items": {"$ref": f"#/$defs/{strategy}"}}
    levels = {"$ref": "#/$defs/levels"}
    schema["properties"]["axes"] |= {
        "properties": {"strategy": {"anyOf": [strategies, levels]}},
        "additionalProperties": levels,
    }
    return DIALECT | schema


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kinds = [
        alternative for alternative in get_args(field.annotation) if alternative is not type(None)
    ]
    kind: Any = kinds[0] if len(kinds) == 1 else field.annotation  # a section may be left out
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _description(field: FieldInfo) -> str:
    if _section(field):
        return field.description or ""
    default = field.get_default(call_default_factory=True)
    return f"{field.description} {facts(expected(field.rebuild_annotation()), default)}"
