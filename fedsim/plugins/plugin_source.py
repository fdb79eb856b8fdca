"""The signature of a plug-in class, read from its source: no import, so ``check`` needs no torch.

The parameters are the fields of a dataclass, with those of its bases, or the arguments of an
``__init__``.  A class without source, or one of Flower's, is imported after all and inspected.

Why not griffe 2.4: a reader on it, which left out methods and the names of local update rules, gave
the same parameters, types, defaults and texts for all 63 plug-ins; but ``fedsim check`` took 10.7 %
longer and ``fedsim list strategies`` 16.4 % (medians of 10 interleaved runs on 2 cores: 319 to
353 ms, 237 to 276 ms), about 40 ms of it to import griffe.  It gives expressions, not types, so
:mod:`fedsim.plugins.annotations` would stay.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fedsim.plugins.annotations import annotation, literal, strict_type
from fedsim.plugins.python_file import Module, NotRead, assignments
from fedsim.plugins.signature import COMPUTED, REQUIRED, Marker, Parameter, Signature

__all__ = ["imported", "read"]


def read(name: str, module: Module, excluded: Collection[str] = ()) -> Signature:
    """Return the signature of the class ``name`` of ``module``.

    Args:
        name: of the class, which may come from another module that ``module`` imports it from.
        module: where it is looked for.
        excluded: arguments that the engine gives, which are no parameters.

    Raises:
        NotRead: if there is no such class in source that can be read.
    """
    facts = _facts(name, module)
    return Signature(
        name,
        facts.doc,
        {p.name: p for p in facts.parameters or () if p.name not in excluded},
        facts.constants,
        _about(name, module) or facts.doc,
        facts.methods,
    )


def imported(cls: type[Any], excluded: Collection[str] = ()) -> Signature:
    """Return the signature of a class that is there already; ``excluded`` as in :func:`read`."""
    try:
        arguments = inspect.signature(cls, eval_str=True).parameters.values()
    except Exception:  # eval_str runs whatever the annotations say
        arguments = inspect.signature(cls).parameters.values()
    parameters = {
        argument.name: Parameter(
            argument.name, strict_type(argument.annotation), _plain_default(argument.default)
        )
        for argument in arguments
        if argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
        and argument.name not in excluded
    }
    constants = {
        name: value
        for name, value in inspect.getmembers(cls)
        if not name.startswith("_") and isinstance(value, str | tuple | bool)
    }
    doc = _first_paragraph(cls.__doc__ or "")
    methods = frozenset(name for name in dir(cls) if callable(getattr(cls, name, None)))
    return Signature(cls.__name__, doc, parameters, constants, doc, methods)


def _plain_default(default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return REQUIRED
    is_plain = default is None or isinstance(default, bool | int | float | str)
    return default if is_plain else COMPUTED


@dataclass(frozen=True)
class _Facts:
    doc: str
    constants: Mapping[str, Any]
    """The class's own texts and tuples, such as the local update rule that a strategy names."""
    parameters: tuple[Parameter, ...] | None
    """None where neither the class nor a base says how it is built."""
    methods: frozenset[str] = frozenset()


_WITHOUT_PARAMETERS = ("abc", "builtins", "collections", "enum", "torch", "typing")
"""Packages whose classes, as bases, give a plug-in nothing that a scenario could set."""


def _facts(name: str, module: Module, depth: int = 0) -> _Facts:
    if depth > 30:
        raise NotRead(f"{name}: too many bases, or bases that form a cycle")
    definer, node = module.class_named(name)
    bases = [_facts_of_base(base, definer, depth + 1) for base in node.bases]
    doc = ast.get_docstring(node) or ""
    inherited = {k: v for base in reversed(bases) for k, v in base.constants.items()}
    constants = inherited | _constants(node, definer)
    methods_here = {
        statement.name for statement in node.body if isinstance(statement, ast.FunctionDef)
    }
    methods = frozenset(methods_here).union(*(base.methods for base in bases))
    return _Facts(_first_paragraph(doc), constants, _parameters(node, definer, bases), methods)


def _facts_of_base(base: ast.expr, module: Module, depth: int) -> _Facts:
    while isinstance(base, ast.Subscript):  # Generic[T]
        base = base.value
    if module.origin(base).partition(".")[0] in _WITHOUT_PARAMETERS:
        return _Facts("", {}, None)
    followed = module.follow(base)
    if followed is None or followed[0] is None:
        raise NotRead(f"{module.path}: the base {ast.unparse(base)}")
    return _facts(followed[1], followed[0], depth)


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


_SKIPPED = Marker("not an argument")
_FACTORIES = {"list": list, "dict": dict, "tuple": tuple}


def _field_default(value: ast.expr | None, module: Module) -> Any:
    if value is None:
        return REQUIRED
    is_field = isinstance(value, ast.Call) and ast.unparse(value.func).endswith("field")
    if not is_field:
        return _default(value, module)
    arguments = {word.arg: word.value for word in value.keywords}  # type: ignore[attr-defined]
    if "init" in arguments and ast.unparse(arguments["init"]) == "False":
        return _SKIPPED
    if "default" in arguments:
        return _default(arguments["default"], module)
    if "default_factory" not in arguments:
        return REQUIRED
    factory = _FACTORIES.get(ast.unparse(arguments["default_factory"]))
    return factory() if factory else COMPUTED


def _default(value: ast.expr, module: Module) -> Any:
    try:
        return literal(value, module)
    except NotRead:
        return COMPUTED


def _arguments(args: ast.arguments, module: Module, docs: Mapping[str, str]) -> Iterator[Parameter]:
    placed = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(placed) - len(args.defaults)) + list(args.defaults)
    pairs = [
        *zip(placed, defaults, strict=True),
        *zip(args.kwonlyargs, args.kw_defaults, strict=True),
    ]
    for argument, value in pairs[1:]:  # but for self
        kind = annotation(argument.annotation, module) if argument.annotation else Any
        default = REQUIRED if value is None else _default(value, module)
        yield Parameter(argument.arg, kind, default, _words(docs.get(argument.arg, "")))


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
                name, _, text_after = text.partition(":")
                name = name.split(" ")[0]
                docs[name] = text_after.strip()
            elif is_inside and name and text:
                docs[name] += " " + text
    return docs


def _constants(node: ast.ClassDef, module: Module) -> dict[str, Any]:
    values = {
        name: _default(value, module) for name, value in assignments(node.body).items() if value
    }
    return {name: value for name, value in values.items() if isinstance(value, str | tuple | bool)}


def _docstring(statement: ast.stmt | None) -> str:
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    value = statement.value.value if is_text else ""  # type: ignore[union-attr]
    return _words(value) if isinstance(value, str) else ""


def _about(name: str, module: Module) -> str:
    is_namesake = name.lower() == module.path.stem.replace("_", "")
    return _first_paragraph(ast.get_docstring(module.tree) or "") if is_namesake else ""


def _first_paragraph(docstring: str) -> str:
    return _words(inspect.cleandoc(docstring).split("\n\n")[0])


def _words(text: str) -> str:
    """Return ``text`` on one line, without the marks of reStructuredText."""
    return " ".join(re.sub(r":\w+:`[~.]?([^`]*)`", r"\1", text).replace("``", "`").split())
