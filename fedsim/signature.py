"""What a plug-in class can be told, read from its source: no import, so ``check`` needs no torch.

The parameters are the fields of a dataclass, with those of its bases, or the arguments of an
``__init__``.  Where there is no source to read, or the class is one of Flower's, it is imported
after all and asked.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fedsim.python_file import Module, NotRead, annotation, literal, tidy
from fedsim.words import at, did_you_mean, expected, inside, misfit, nearest, walked

__all__ = ["COMPUTED", "REQUIRED", "Parameter", "Signature", "Wrong", "imported", "read"]


class _Marker:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


REQUIRED = _Marker("required")
"""In place of a default: there is none."""
COMPUTED = _Marker("computed")
"""In place of a default: the class works it out when it is built."""


@dataclass(frozen=True)
class Parameter:
    """One thing that a scenario may tell a plug-in."""

    name: str
    type: Any
    """Made of plain types, with their ranges; ``Any`` where the source says something else."""
    default: Any
    """A plain value, :data:`REQUIRED` or :data:`COMPUTED`."""
    doc: str = ""

    def value(self, written: Any) -> Any:
        """Return ``written`` as the class wants it: a tuple for a list, a Path for a text.

        Raises:
            pydantic.ValidationError: if it is of another type, or out of range.
        """
        return TypeAdapter(self.type).validate_python(written)

    def plain(self, value: Any) -> Any:
        """Return ``value`` as a scenario file would say it."""
        return TypeAdapter(self.type).dump_python(value, mode="json")


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong with what a plug-in is told."""

    path: tuple[str | int, ...]
    """From the plug-in's part: the parameter, then an item in it."""
    message: str
    hint: str = ""

    @property
    def key(self) -> str:
        """The path as one text."""
        return ".".join(str(step) for step in self.path)


@dataclass(frozen=True)
class Signature:
    """A plug-in class from outside."""

    name: str
    """Of the class."""
    doc: str
    """The first paragraph of its docstring, on one line."""
    parameters: Mapping[str, Parameter]
    client: str = ""
    """The client half that a strategy names; empty where the class names none."""

    def faults(self, who: str, written: Mapping[str, Any]) -> list[Wrong]:
        """Return all that is wrong with the parameters ``written`` for it.

        Args:
            who: the plug-in as messages call it: ``strategy 'fedprox'``.
            written: from name to value, as in the file.
        """
        has = ", ".join(self.parameters) or "none"
        unknown = [
            Wrong(
                (name,),
                f"{who} has no parameter {name!r}; it has {has}",
                did_you_mean(name, self.parameters).strip(),
            )
            for name in written
            if name not in self.parameters
        ]
        meant = {nearest(wrong.key, self.parameters) for wrong in unknown}
        missing = [
            Wrong((), f"{who} needs {name!r}: {expected(parameter.type)}", parameter.doc)
            for name, parameter in self.parameters.items()
            if parameter.default is REQUIRED and name not in written and name not in meant
        ]
        known = [name for name in written if name in self.parameters]
        return [*unknown, *missing, *(w for n in known for w in _misfits(self.parameters[n], written[n]))]

    def with_defaults(self, written: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``written``, which has no faults, with nothing implicit left, as plain values."""
        complete: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            if name in written:
                complete[name] = parameter.plain(parameter.value(written[name]))
            elif parameter.default not in (REQUIRED, COMPUTED):
                complete[name] = _plain(parameter)
        return complete


def _misfits(parameter: Parameter, value: Any) -> Iterator[Wrong]:
    try:
        parameter.value(value)
    except ValidationError as error:
        seen = set()
        for detail in error.errors(include_url=False, include_context=False):
            steps = walked(value, detail["loc"])
            if steps not in seen:
                seen.add(steps)
                yield Wrong((parameter.name, *steps), misfit(inside(parameter.type, steps), at(value, steps)))


def _plain(parameter: Parameter) -> Any:
    try:
        return parameter.plain(parameter.value(parameter.default))
    except ValidationError:  # a class may use as a default what nobody may write
        return parameter.plain(parameter.default)


def read(name: str, module: Module, given: Collection[str] = ()) -> Signature:
    """Return the signature of the class ``name`` of ``module``.

    Args:
        name: of the class, which may come from another module that ``module`` imports it from.
        module: where it is looked for.
        given: arguments that the engine gives, which are no parameters.

    Raises:
        NotRead: if there is no such class in source that can be read.
    """
    facts = _facts(name, module)
    return Signature(
        name,
        facts.doc,
        {p.name: p for p in facts.parameters or () if p.name not in given},
        facts.client,
    )


def imported(cls: type[Any], given: Collection[str] = ()) -> Signature:
    """Return the signature of a class that is there already; ``given`` as in :func:`read`."""
    try:
        arguments = inspect.signature(cls, eval_str=True).parameters.values()
    except Exception:  # eval_str runs whatever the annotations say
        arguments = inspect.signature(cls).parameters.values()
    parameters = {
        argument.name: Parameter(
            argument.name, tidy(argument.annotation), _plain_default(argument.default)
        )
        for argument in arguments
        if argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
        and argument.name not in given
    }
    client = getattr(cls, "client", "")
    doc = _first_paragraph(cls.__doc__ or "")
    return Signature(cls.__name__, doc, parameters, client if isinstance(client, str) else "")


def _plain_default(default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return REQUIRED
    is_plain = default is None or isinstance(default, bool | int | float | str)
    return default if is_plain else COMPUTED


@dataclass(frozen=True)
class _Facts:
    doc: str
    client: str
    parameters: tuple[Parameter, ...] | None
    """None where neither the class nor a base says how it is built."""


_WITHOUT_PARAMETERS = ("abc", "builtins", "collections", "enum", "torch", "typing")
"""Packages whose classes, as bases, give a plug-in nothing that a scenario could set."""


def _facts(name: str, module: Module, depth: int = 0) -> _Facts:
    if depth > 30:
        raise NotRead(f"{name}: too many bases, or bases that go in a circle")
    home, node = module.class_named(name)
    bases = [_facts_of_base(base, home, depth + 1) for base in node.bases]
    doc = ast.get_docstring(node) or ""
    client = _client(node, home) or next((b.client for b in bases if b.client), "")
    return _Facts(_first_paragraph(doc), client, _parameters(node, home, bases))


def _facts_of_base(base: ast.expr, module: Module, depth: int) -> _Facts:
    while isinstance(base, ast.Subscript):  # Generic[T]
        base = base.value
    if module.origin(base).partition(".")[0] in _WITHOUT_PARAMETERS:
        return _Facts("", "", None)
    found = module.follow(base)
    if found is None or found[0] is None:
        raise NotRead(f"{module.path}: the base {ast.unparse(base)}")
    return _facts(found[1], found[0], depth)


def _parameters(
    node: ast.ClassDef, module: Module, bases: list[_Facts]
) -> tuple[Parameter, ...] | None:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            docs = _argument_docs(ast.get_docstring(node), ast.get_docstring(statement))
            return tuple(_arguments(statement.args, module, docs))
    if not any(_is_dataclass(decorator) for decorator in node.decorator_list):
        return next((b.parameters for b in bases if b.parameters is not None), None)
    inherited = [p for base in reversed(bases) for p in base.parameters or ()]
    fields = {p.name: p for p in [*inherited, *_fields(node, module)]}
    return tuple(fields.values())


def _is_dataclass(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called) in ("dataclass", "dataclasses.dataclass")


def _fields(node: ast.ClassDef, module: Module) -> Iterator[Parameter]:
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        words = ast.unparse(statement.annotation).strip("'\"")
        if "ClassVar" in words.split("[")[0] or words.endswith("KW_ONLY"):
            continue
        default = _field_default(statement.value, module)
        if default is not _SKIPPED:
            kind = annotation(statement.annotation, module)
            yield Parameter(statement.target.id, kind, default, _docstring(after))


_SKIPPED = _Marker("not an argument")
_FACTORIES = {"list": list, "dict": dict, "tuple": tuple}


def _field_default(value: ast.expr | None, module: Module) -> Any:
    if value is None:
        return REQUIRED
    is_field = isinstance(value, ast.Call) and ast.unparse(value.func).endswith("field")
    if not is_field:
        return _default(value, module)
    said = {word.arg: word.value for word in value.keywords}  # type: ignore[attr-defined]
    if "init" in said and ast.unparse(said["init"]) == "False":
        return _SKIPPED
    if "default" in said:
        return _default(said["default"], module)
    if "default_factory" not in said:
        return REQUIRED
    factory = _FACTORIES.get(ast.unparse(said["default_factory"]))
    return factory() if factory else COMPUTED


def _default(value: ast.expr, module: Module) -> Any:
    try:
        return literal(value, module)
    except NotRead:
        return COMPUTED


def _arguments(
    args: ast.arguments, module: Module, docs: Mapping[str, str]
) -> Iterator[Parameter]:
    placed = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(placed) - len(args.defaults)) + list(args.defaults)
    pairs = [*zip(placed, defaults, strict=True), *zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    for argument, value in pairs[1:]:  # but for self
        kind = annotation(argument.annotation, module) if argument.annotation else Any
        default = REQUIRED if value is None else _default(value, module)
        yield Parameter(argument.arg, kind, default, docs.get(argument.arg, ""))


def _argument_docs(*docstrings: str | None) -> dict[str, str]:
    """Return what the ``Args:`` of Google docstrings say of each argument."""
    docs: dict[str, str] = {}
    for docstring in docstrings:
        name, is_inside = "", False
        for line in (docstring or "").splitlines():
            indent, text = len(line) - len(line.lstrip()), line.strip()
            if indent == 0 and text:
                is_inside = text == "Args:"
            elif is_inside and indent == 4 and ":" in text:
                name, _, said = text.partition(":")
                name = name.split(" ")[0]
                docs[name] = said.strip()
            elif is_inside and name and text:
                docs[name] += " " + text
    return docs


def _client(node: ast.ClassDef, module: Module) -> str:
    for statement in node.body:
        is_named = isinstance(statement, ast.AnnAssign | ast.Assign)
        if is_named and "client" in _targets(statement) and statement.value:  # type: ignore
            value = _default(statement.value, module)  # type: ignore[attr-defined]
            return value if isinstance(value, str) else ""
    return ""


def _targets(statement: ast.AnnAssign | ast.Assign) -> list[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _docstring(statement: ast.stmt | None) -> str:
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    value = statement.value.value if is_text else ""  # type: ignore[union-attr]
    return " ".join(value.split()) if isinstance(value, str) else ""


def _first_paragraph(docstring: str) -> str:
    return " ".join(inspect.cleandoc(docstring).split("\n\n")[0].split())
