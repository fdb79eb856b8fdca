"""What every section of a scenario shares, and the section that names a plug-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

__all__ = ["Part", "PartOf", "Section", "nested_kind", "nested_part"]


class Section(BaseModel):
    """Unknown keys and near misses of a type are errors: a misspelt key must not run."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        regex_engine="python-re",
    )


class Part(Section):
    """A plug-in by its name, with its parameters beside the name."""

    use: str
    """A name that `fedsim list` shows, `package.module:Class`, or `./file.py:Class`."""
    parameters: dict[str, Any] = {}
    """The plug-in's own parameters."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"use": value}
        if not isinstance(value, dict):
            return value
        entries = dict(value)
        use = entries.pop("use", "")
        return {"use": use, "parameters": entries.pop("parameters", {}) | entries}

    @model_serializer
    def _spread(self) -> dict[str, Any]:
        return {"use": self.use, **self.parameters}


@dataclass(frozen=True)
class PartOf:
    """Put into ``Annotated``: the parameter is a plug-in of its own, which a scenario names."""

    kind: str
    """Of the plug-in, such as ``optimizer``."""
    default: str = ""
    """Which plug-in is meant where a mapping names none; empty: it has to name one."""


def nested_kind(kind: Any) -> str:
    """Return of which kind a parameter of the type ``kind`` is a plug-in; empty where of none.

    >>> nested_kind(Annotated[Part, PartOf("optimizer")] | None)
    'optimizer'
    """
    return nested_part(kind).kind


def nested_part(kind: Any) -> PartOf:
    """Return which plug-ins a parameter of the type ``kind`` names; of no kind where of none."""
    for inner in get_args(kind):
        if isinstance(inner, PartOf):
            return inner
        if (below := nested_part(inner)).kind:
            return below
    return PartOf("")
