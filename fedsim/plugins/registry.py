"""From the names in a scenario to the classes that they mean.

The folder is the registry: a file on a shelf with a class that is called like it (``sign_flip.py``
holds ``SignFlip``) can be named, and no list is edited elsewhere.  A name is one of

* ``fedprox``                   a file on the shelf, or an entry point in the shelf's group
* ``my_package.ideas:MyIdea``   a class in an installed package
* ``./my_idea.py:MyIdea``       a class in a file, relative to the scenario that names it
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim.errors import Fault, FedsimError, ScenarioError
from fedsim.plugins.file_import import module_in
from fedsim.plugins.plugin_source import imported, read
from fedsim.plugins.python_file import Module, NotRead, locate, module_at
from fedsim.plugins.shelves import SHELVES, Shelf
from fedsim.plugins.signature import Parameter, Signature, asked_for
from fedsim.schema.part import nested_kind
from fedsim.schema.wording import did_you_mean

if TYPE_CHECKING:
    from fedsim.schema.part import Part

__all__ = ["SHELVES", "Shelf", "build", "describe", "find", "names", "short"]


def names(kind: str) -> list[str]:
    """Return every name on the shelf of ``kind``, in alphabetical order."""
    return sorted(set(_shelved(kind)) | set(_entries(kind)))


def find(kind: str, name: str, beside: Path = Path()) -> type[Any]:
    """Return the class that ``name`` means, importing its module.

    Args:
        kind: of the plug-in, such as ``strategy``.
        name: as a scenario says it.
        beside: the folder that a relative path to a file starts from.

    Raises:
        ScenarioError: if there is no such file, module or class, or it cannot be imported.
    """
    origin = _origin(kind, name, beside)
    try:
        module = module_in(origin.path) if origin.path else importlib.import_module(origin.module)
    except FedsimError:
        raise
    except (Exception, SystemExit) as error:  # importing runs what the author wrote
        raise _refusal(kind, f"{name!r} cannot be imported: {_error_text(error)}") from error
    cls = getattr(module, origin.attribute, None)
    if not inspect.isclass(cls):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise _no_class(kind, origin, classes)
    return cls


def describe(kind: str, name: str, beside: Path = Path()) -> Signature:
    """Return the plug-in's parameters, without importing it where its source can be read.

    Raises:
        ScenarioError: if there is no such file, module or class; lists the names there are.
    """
    origin = _origin(kind, name, beside)
    engine_arguments = SHELVES[kind].engine_arguments
    try:
        if origin.module.partition(".")[0] != "flwr":  # Flower's own are imported, never read
            module = module_at(origin.path) if origin.path else locate(origin.module)
            if module is not None:
                signature = read(origin.attribute, module, engine_arguments)
                return _as_wrapped(signature, kind, _wrapper(kind, name))
    except NotRead as error:
        if origin.path and not os.path.isfile(origin.path):
            raise _refusal(kind, f"there is no file {str(origin.path)!r}") from error
    cls = find(kind, name, beside)
    return _as_wrapped(imported(cls, engine_arguments), kind, _wrapper(kind, name))


def _as_wrapped(signature: Signature, kind: str, wrapper: str) -> Signature:
    """Return a foreign class's signature with the constants and the step size of ``wrapper``."""
    if not wrapper:
        return signature
    ours, parameters = describe(kind, wrapper), dict(signature.parameters)
    if "lr" in ours.parameters and "lr" in parameters:
        parameters["lr"] = replace(ours.parameters["lr"], default=parameters["lr"].default)
    return replace(signature, parameters=parameters, constants=ours.constants)


def build(kind: str, part: Part, beside: Path = Path(), **arguments: Any) -> Any:
    """Return the plug-in that ``part`` names, built of its parameters and the ``arguments``.

    Raises:
        ScenarioError: if there is no such plug-in, a parameter is unknown to it, missing, of a
            wrong type or out of range, or its class refuses them.
    """
    signature = describe(kind, part.use, beside)
    if wrong := signature.faults(f"{kind} {short(part.use)!r}", part.parameters):
        raise ScenarioError(
            [Fault("", 0, 0, ".".join([kind, *map(str, w.path)]), w.message, w.hint) for w in wrong]
        )
    parameters = {
        name: _built(signature.parameters[name], value, beside)
        for name, value in part.parameters.items()
    }
    try:
        if ours := _wrapper(kind, part.use):
            return find(kind, ours).of(part.use.partition(":")[2], parameters)
        cls = find(kind, part.use, beside)
        return cls(**parameters, **asked_for(cls, arguments))
    except (TypeError, ValueError) as error:
        raise _refusal(kind, f"{kind} {short(part.use)!r}: {_error_text(error)}") from error


def _built(parameter: Parameter, value: Any, beside: Path) -> Any:
    """Return the value of a parameter; a plug-in, or several, where the parameter names them."""
    checked, kind = parameter.value(value), nested_kind(parameter.type)
    if kind and isinstance(checked, tuple):
        return tuple(build(kind, part, beside) for part in checked)
    return build(kind, checked, beside) if kind and checked is not None else checked


def _wrapper(kind: str, use: str) -> str:
    return SHELVES[kind].foreign.get(use.partition(":")[0], ("", ""))[1]


def short(use: str) -> str:
    """Return a plug-in's name for people: no folders before a file."""
    where, colon, attribute = use.rpartition(":")
    return f"{Path(where).name}:{attribute}" if colon and where.endswith(".py") else use


@dataclass(frozen=True)
class _ImportTarget:
    """Where a class is said to be."""

    module: str
    attribute: str
    path: Path | None = None


def _origin(kind: str, name: str, beside: Path) -> _ImportTarget:
    where, colon, attribute = name.rpartition(":")
    if where.endswith(".py"):
        return _ImportTarget("", attribute, Path(beside, where).absolute())
    if where in SHELVES[kind].foreign:
        return _ImportTarget(SHELVES[kind].foreign[where][0], attribute)
    if colon and re.fullmatch(r"[\w.]+", where) and attribute.isidentifier():
        return _ImportTarget(where, attribute)
    if target := (_shelved(kind) | _entries(kind)).get(name):
        return target
    ways = "or name a plug-in as package.module:Class or ./file.py:Class"
    choices = f"there are {', '.join(names(kind)) or 'none'}; {ways}"
    raise _refusal(
        kind,
        f"no {kind} is called {name!r}",
        f"{did_you_mean(name, names(kind))}\n{choices}".strip(),
    )


def _shelved(kind: str) -> dict[str, _ImportTarget]:
    shelf = locate(SHELVES[kind].module)
    if shelf is None:
        return {}
    if shelf.path.name != "__init__.py":
        return {
            re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower(): _ImportTarget(shelf.name, name)
            for name in shelf.classes
            if _is_public(shelf, name)
        }
    files = shelf.path.parent.glob("[!_]*.py")
    return {
        path.stem: _ImportTarget(f"{shelf.name}.{path.stem}", _namesake(path)) for path in files
    }


def _is_public(shelf: Module, name: str) -> bool:
    is_contract = "Protocol" in [ast.unparse(base) for base in shelf.classes[name].bases]
    return not name.startswith("_") and not is_contract


def _namesake(path: Path) -> str:
    """Return the class that is called like its file, or what it would be called."""
    folded = path.stem.replace("_", "")
    try:
        classes = module_at(path).classes
    except NotRead:
        classes = {}
    return next(
        (name for name in classes if name.lower() == folded), path.stem.title().replace("_", "")
    )


@lru_cache
def _entries(kind: str) -> dict[str, _ImportTarget]:
    return {
        point.name: _ImportTarget(point.module, point.attr)
        for point in entry_points(group=SHELVES[kind].group)
    }


def _no_class(kind: str, origin: _ImportTarget, classes: list[str]) -> ScenarioError:
    where = origin.path.name if origin.path else origin.module
    present = ", ".join(classes) or "no class"
    hint = f"{did_you_mean(origin.attribute, classes)}\nit has {present}".strip()
    return _refusal(kind, f"{where} has no class {origin.attribute}", hint)


def _error_text(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _refusal(kind: str, message: str, hint: str = "") -> ScenarioError:
    return ScenarioError([Fault("", 0, 0, kind, message, hint)])
