"""Python modules as text: their classes, names and annotations, without running them."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import types
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin

import annotated_types
from pydantic import AllowInfNan, Strict

__all__ = ["Module", "NotRead", "annotation", "literal", "locate", "module_at", "tidy"]


class NotRead(Exception):
    """The source does not say; the reader of this module decides what that means."""


@dataclass(frozen=True)
class Module:
    """A module's source, parsed."""

    name: str
    """Dotted, or empty for a file that is no module of a package."""
    path: Path
    tree: ast.Module

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """Return the classes that are defined here, at the top."""
        return {node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef)}

    def class_named(self, name: str) -> tuple[Module, ast.ClassDef]:
        """Return the class, and the module that defines it.

        Raises:
            NotRead: if it is not defined here, nor imported from source that can be read.
        """
        if name in self.classes:
            return self, self.classes[name]
        found = self.follow(ast.Name(name))
        if found is None or found[0] is None or found[0] == self:
            raise NotRead(f"{self.path} has no class {name}")
        return found[0].class_named(found[1])

    def origin(self, name: ast.expr) -> str:
        """Return the full dotted name behind an imported one; empty where it is not imported."""
        first, _, rest = ast.unparse(name).partition(".")
        if first in self.imports:
            return f"{self.imports[first]}.{rest}".rstrip(".")
        return "" if rest or first in self.classes or not hasattr(builtins, first) else f"builtins.{first}"

    def follow(self, name: ast.expr) -> tuple[Module | None, str] | None:
        """Return where a name that this module uses comes from, and what it is called there.

        The module is None where its source is not to be had; all is None for no known name.
        """
        words = ast.unparse(name)
        if words in self.classes or words in self.assigned:
            return self, words
        where, _, attribute = self.origin(name).rpartition(".")
        return (locate(where), attribute) if where else None

    @cached_property
    def assigned(self) -> dict[str, ast.expr]:
        """Return what the module's top says of each name: ``Rate = Annotated[float, Ge(0)]``."""
        values: dict[str, ast.expr] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                values[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                values |= {node.target.id: node.value} if node.value else {}
        return values

    @cached_property
    def imports(self) -> dict[str, str]:
        """Return the full dotted name behind each imported one, type-checking ones included."""
        full: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    full[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                start = self._absolute(node)
                full |= {a.asname or a.name: f"{start}.{a.name}" for a in node.names}
        return full

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.name.split(".")
        is_package = self.path.name == "__init__.py"
        kept = package[: len(package) - node.level + is_package]
        return ".".join([*kept, *([node.module] if node.module else [])])


def locate(name: str) -> Module | None:
    """Return the source of the module ``name``; None where it has none that can be read.

    Nothing is imported: only the top package is asked for where it is, and the rest are folders.

    Raises:
        NotRead: if the source is there but is not Python.
    """
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return module_at(Path(spec.origin), name) if _is_source(spec.origin) else None
    for folder in spec.submodule_search_locations or ():
        stem = Path(folder, *rest)
        for path in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
            if path.is_file():
                return module_at(path, name)
    return None


def _is_source(origin: str | None) -> bool:
    return origin is not None and origin.endswith(".py")


def module_at(path: Path, name: str = "") -> Module:
    """Return the module in the file ``path``.

    Raises:
        NotRead: if there is no such file, or it is not Python.
    """
    try:
        return _parsed(path, name, path.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        raise NotRead(f"cannot read {path}: {error}") from error
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise NotRead(f"{path}: line {getattr(error, 'lineno', '?')}: {error.args[0]}") from error


@lru_cache(maxsize=512)
def _parsed(path: Path, name: str, modified: int) -> Module:
    return Module(name, path, ast.parse(path.read_bytes()))


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
    found = module.follow(node) if isinstance(node, ast.Name | ast.Attribute) else None
    if found and found[0] and found[1] in found[0].assigned:
        return _type(found[0].assigned[found[1]], found[0], depth + 1)
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
        return Literal[tuple(literal(one, module) for one in inner)]
    if name == "Annotated":
        extras = [_constraint(extra, module) for extra in inner[1:]]
        known = tuple(extra for extra in extras if extra is not None)
        kind = _type(inner[0], module, depth)
        return Annotated[(kind, *known)] if known else kind
    if name in ("Final", "InitVar", "Required"):
        return _type(inner[0], module, depth)
    of = tuple(... if _is_dots(one) else _type(one, module, depth) for one in inner)
    if name == "Optional":
        return Optional[of[0]]  # noqa: UP045  (a type at run time)
    if name == "Union":
        return Union[of]
    if name == "Sequence":
        return tuple[of[0], ...]  # type: ignore[valid-type]
    if name in ("tuple", "list", "dict", "Mapping"):
        return _TYPES[name][of]
    raise NotRead(f"the type {name}")


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
    return getattr(annotated_types, name)(*(literal(one, module) for one in node.args), **words)


def literal(node: ast.expr, module: Module) -> Any:
    """Return the value of a literal, or of a name that stands for one.

    Raises:
        NotRead: if it has to be computed.
    """
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        pass
    if isinstance(node, ast.Name | ast.Attribute) and (found := module.follow(node)):
        home, name = found
        if home and name in home.assigned and home.assigned[name] is not node:
            return literal(home.assigned[name], home)
    raise NotRead(ast.unparse(node))


def tidy(kind: Any) -> Any:
    """Return a type that was found at run time, strict in its plain parts; else ``Any``."""
    if kind in _STRICT:
        return _STRICT[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if kind in (None, type(None), Path, dict, list, tuple) or origin is Literal:
        return kind
    if origin in (Union, types.UnionType):
        return Union[tuple(tidy(one) for one in inner)]
    if origin in (tuple, list, dict):
        return origin[tuple(one if one is ... else tidy(one) for one in inner)]
    return Any
