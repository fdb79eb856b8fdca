"""From the text of an annotation or a default to the type or the value that it means."""

from __future__ import annotations

import ast
import functools
import operator
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin

import annotated_types
from pydantic import AllowInfNan, Strict

from fedsim.plugins.python_file import Module, NotRead
from fedsim.schema.part import Part, PartOf
from fedsim.schema.wording import Wording

__all__ = ["annotation", "literal", "strict_type"]

_STRICT: dict[Any, Any] = {
    int: Annotated[int, Strict()],
    float: Annotated[float, Strict(), AllowInfNan(False)],
    str: Annotated[str, Strict()],
    bool: Annotated[bool, Strict()],
}
_TYPES: dict[str, Any] = {
    **{kind.__name__: strict for kind, strict in _STRICT.items()},
    "Path": Path,
    "pathlib.Path": Path,
    "Any": Any,
    "dict": dict,
    "list": list,
    "tuple": tuple,
    "Mapping": dict,
    "Sequence": tuple,
}
_CONSTRAINTS = ("Gt", "Ge", "Lt", "Le", "Interval", "MinLen", "MaxLen", "Len", "MultipleOf")


def annotation(node: ast.expr, module: Module) -> Any:
    """Return the type that an annotation means; ``Any`` where it is not a plain one."""
    try:
        return _type(node, module, 0)
    except (NotRead, TypeError):
        return Any


def _type(node: ast.expr, module: Module, depth: int) -> Any:
    if depth > 20:
        raise NotRead("a type that is nested too deep")
    if isinstance(node, ast.Constant) and node.value is None:
        return None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _type(_expression(node.value), module, depth + 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _type(node.left, module, depth + 1) | _type(node.right, module, depth + 1)
    if isinstance(node, ast.Subscript):
        return _subscript(node, module, depth + 1)
    name = ast.unparse(node)
    if name in _TYPES:
        return _TYPES[name]
    followed = module.follow(node) if isinstance(node, ast.Name | ast.Attribute) else None
    if followed and followed[0] and followed[1] in followed[0].assigned:
        return _type(followed[0].assigned[followed[1]], followed[0], depth + 1)
    raise NotRead(f"the type {name}")


def _expression(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise NotRead(text) from error


def _subscript(node: ast.Subscript, module: Module, depth: int) -> Any:
    name = ast.unparse(node.value).rpartition(".")[2]
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        return Literal[tuple(literal(part, module) for part in inner)]
    if name == "Annotated":
        if nested := _nested(inner[1:], module):
            return nested
        extras = [_constraint(extra, module) for extra in inner[1:]]
        present = tuple(extra for extra in extras if extra is not None)
        kind = _type(inner[0], module, depth)
        return Annotated[(kind, *present)] if present else kind
    if name in ("Final", "InitVar", "Required"):
        return _type(inner[0], module, depth)
    inner_types = tuple(... if _is_dots(part) else _type(part, module, depth) for part in inner)
    if name == "Optional":
        return Optional[inner_types[0]]  # noqa: UP045  (a type at run time)
    if name == "Union":
        return functools.reduce(operator.or_, inner_types)
    if name == "Sequence":
        return tuple[inner_types[0], ...]  # type: ignore[valid-type]
    if name in ("tuple", "list", "dict", "Mapping"):
        return _TYPES[name][inner_types]
    raise NotRead(f"the type {name}")


def _nested(extras: list[ast.expr], module: Module) -> Any:
    """Return the type of a plug-in inside a plug-in; None where the annotation is of none."""
    for node in extras:
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "PartOf":
            kind, default = ([str(literal(part, module)) for part in node.args] + [""])[:2]
            wording = Wording(f"the name of a plug-in ({kind})")
            return Annotated[Part, PartOf(kind, default), wording]
    return None


def _is_dots(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _constraint(node: ast.expr, module: Module) -> Any:
    """Return a range of ``annotated_types``; None for what says nothing of the value."""
    if not isinstance(node, ast.Call):
        return None
    name = ast.unparse(node.func).rpartition(".")[2]
    name = module.imports.get(name, name).rpartition(".")[2]
    if name not in _CONSTRAINTS:
        return None
    words = {str(word.arg): literal(word.value, module) for word in node.keywords}
    return getattr(annotated_types, name)(
        *(literal(argument, module) for argument in node.args), **words
    )


def literal(node: ast.expr, module: Module) -> Any:
    """Return the value of a literal, or of a name that stands for one.

    Raises:
        NotRead: if it has to be computed.
    """
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        pass
    if isinstance(node, ast.Name | ast.Attribute) and (followed := module.follow(node)):
        definer, name = followed
        if definer and name in definer.assigned and definer.assigned[name] is not node:
            return literal(definer.assigned[name], definer)
    raise NotRead(ast.unparse(node))


def strict_type(kind: Any) -> Any:
    """Return a type that was found at run time, strict in its plain parts; else ``Any``."""
    if kind in _STRICT:
        return _STRICT[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if kind in (None, type(None), Path, dict, list, tuple) or origin is Literal:
        return kind
    if origin in (Union, types.UnionType):
        return functools.reduce(operator.or_, (strict_type(part) for part in inner))
    if origin in (tuple, list, dict):
        return origin[tuple(part if part is ... else strict_type(part) for part in inner)]
    return Any
