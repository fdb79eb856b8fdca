"""The keys of a scenario file, as its schema has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedsim.scenario.node import Step
from fedsim.schema.part import Part
from fedsim.schema.scenario import PARTS, Scenario
from fedsim.schema.wording import Wording, inside, listed

__all__ = ["PART", "field_at", "fields", "known_at", "type_of"]

PART = Annotated[Part, Wording("the name of a plug-in or a mapping with `use`")]


def fields(path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Yield every key below the section at ``path``, from the top down."""
    section = _section(path)
    for name, field in section.model_fields.items() if section else ():
        key = (*path, field.alias or name)
        yield key, field
        yield from fields(key)


def known_at(path: tuple[str, ...]) -> list[str]:
    """Return the keys that the section at ``path`` may have; none where it is no section."""
    section = _section(path)
    return [field.alias or name for name, field in section.model_fields.items()] if section else []


def field_at(path: Sequence[Step]) -> FieldInfo | None:
    """Return the schema's field at ``path``, if it has one there."""
    model: type[BaseModel] | None = Scenario
    field = None
    for step in path:
        by_name = {f.alias or name: f for name, f in model.model_fields.items()} if model else {}
        field = by_name.get(str(step))
        model = _model(field) if field else None
    return field


def type_of(path: Sequence[Step]) -> Any:
    """Return the type of the value at ``path``, or of the item that ``path`` leads to."""
    for length in range(len(path), 0, -1):
        if (field := field_at(path[:length])) is not None:
            return inside(_written_type(field, tuple(path[:length])), path[length:])
    return Any


def _written_type(field: FieldInfo, path: tuple[Step, ...]) -> Any:
    if path in PARTS:
        return PART
    if (model := _model(field)) is not None:
        names = listed([f.alias or name for name, f in model.model_fields.items()], " and ")
        return Annotated[model, Wording(f"a mapping that may have {names}")]
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _section(path: tuple[str, ...]) -> type[BaseModel] | None:
    field = field_at(path)
    return Scenario if not path else _model(field) if field else None


def _model(field: FieldInfo) -> type[BaseModel] | None:
    kinds = [
        alternative for alternative in get_args(field.annotation) if alternative is not type(None)
    ]
    kind: Any = kinds[0] if len(kinds) == 1 else field.annotation  # a section may be null
    is_section = isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Part
    return kind if is_section else None
