"""The parameters of a plug-in, and what is wrong with the values written for them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fedsim.schema.wording import at, did_you_mean, expected, inside, misfit, nearest, walked

__all__ = ["COMPUTED", "REQUIRED", "Marker", "Parameter", "Signature", "Wrong", "asked_for"]


class Marker:
    """Stands where a value would be, and prints as its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


REQUIRED = Marker("required")
"""In place of a default: there is none."""
COMPUTED = Marker("computed")
"""In place of a default: the class works it out when it is built."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a plug-in."""

    name: str
    type: Any
    """Made of plain types, with their ranges; ``Any`` where the source says something else."""
    default: Any
    """A plain value, :data:`REQUIRED` or :data:`COMPUTED`."""
    doc: str = ""

    def value(self, value: Any) -> Any:
        """Return ``value`` as the class wants it: a tuple for a list, a Path for a text.

        Raises:
            pydantic.ValidationError: if it is of another type, or out of range.
        """
        return TypeAdapter(self.type).validate_python(value)

    def plain(self, value: Any) -> Any:
        """Return ``value`` as a scenario file would say it."""
        return TypeAdapter(self.type).dump_python(value, mode="json")


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong with a plug-in's parameters."""

    path: tuple[str | int, ...]
    """From the plug-in's part: the parameter, then an item in it."""
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Signature:
    """A plug-in class from outside."""

    name: str
    """Of the class."""
    doc: str
    """The first paragraph of its docstring, on one line."""
    parameters: Mapping[str, Parameter]
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Its class variables that are texts, tuples or truth values: a strategy's ``client``, a task's
    ``metrics``, an optimizer's ``linear``."""
    about: str = ""
    """What its file is, where the file is there for it; else the same as ``doc``."""
    methods: frozenset[str] = frozenset()
    """Names of its methods, those of its bases too."""

    @property
    def client(self) -> str:
        """The local update rule that a strategy names; empty where the class names none."""
        name = self.constants.get("client", "")
        return name if isinstance(name, str) else ""

    def faults(self, who: str, values: Mapping[str, Any]) -> list[Wrong]:
        """Return all that is wrong with the parameters ``values`` for it.

        Args:
            who: the plug-in as messages call it: ``strategy 'fedprox'``.
            values: from name to value, as in the file.
        """
        has = ", ".join(self.parameters) or "none"
        unknown = [
            Wrong(
                (name,),
                f"{who} has no parameter {name!r}; it has {has}",
                did_you_mean(name, self.parameters),
            )
            for name in values
            if name not in self.parameters
        ]
        meant = {nearest(str(wrong.path[0]), self.parameters) for wrong in unknown}
        absent = [
            Wrong((), f"{who} needs {name!r}: {expected(parameter.type)}", parameter.doc)
            for name, parameter in self.parameters.items()
            if parameter.default is REQUIRED and name not in values and name not in meant
        ]
        accepted = [name for name in values if name in self.parameters]
        return [
            *unknown,
            *absent,
            *(w for n in accepted for w in _misfits(self.parameters[n], values[n])),
        ]

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``values``, which has no faults, with nothing implicit left, as plain values."""
        complete: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            if name in values:
                complete[name] = parameter.plain(parameter.value(values[name]))
            elif parameter.default not in (REQUIRED, COMPUTED):
                complete[name] = _plain(parameter)
        return complete


def _misfits(parameter: Parameter, value: Any) -> Iterator[Wrong]:
    try:
        parameter.value(value)
    except ValidationError as error:
        reported = set()
        for detail in error.errors(include_url=False, include_context=False):
            steps = walked(value, detail["loc"])
            if steps not in reported:
                reported.add(steps)
                yield Wrong(
                    (parameter.name, *steps),
                    misfit(inside(parameter.type, steps), at(value, steps)),
                )


def _plain(parameter: Parameter) -> Any:
    try:
        return parameter.plain(parameter.value(parameter.default))
    except ValidationError:  # a class may use as a default what nobody may write
        return parameter.plain(parameter.default)


def asked_for(cls: type[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the engine's ``arguments`` that building ``cls`` asks for by name."""
    asked = inspect.signature(cls).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in asked.values())
    return {name: value for name, value in arguments.items() if takes_any or name in asked}
