"""Python modules as text: their classes and names, without running them."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Module", "NotRead", "assignments", "locate", "module_at"]


class NotRead(Exception):
    """The source does not say; the reader of this module decides what that means."""


@dataclass(frozen=True)
class Module:
    """A module's source, parsed."""

    name: str
    """Dotted, or empty for a file that is no module of a package."""
    path: Path
    tree: ast.Module

    @functools.cached_property
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
        followed = self.follow(ast.Name(name))
        if followed is None or followed[0] is None or followed[0] == self:
            raise NotRead(f"{self.path} has no class {name}")
        return followed[0].class_named(followed[1])

    def origin(self, name: ast.expr) -> str:
        """Return the full dotted name behind an imported one; empty where it is not imported."""
        first, _, attributes = ast.unparse(name).partition(".")
        if first in self.imports:
            return f"{self.imports[first]}.{attributes}".rstrip(".")
        return (
            ""
            if attributes or first in self.classes or not hasattr(builtins, first)
            else f"builtins.{first}"
        )

    def follow(self, name: ast.expr) -> tuple[Module | None, str] | None:
        """Return where a name that this module uses comes from, and what it is called there.

        The module is None where its source is not to be had; all is None for no known name.
        """
        words = ast.unparse(name)
        if words in self.classes or words in self.assigned:
            return self, words
        where, _, attribute = self.origin(name).rpartition(".")
        return (locate(where), attribute) if where else None

    @functools.cached_property
    def assigned(self) -> dict[str, ast.expr]:
        """Return what the module assigns to each name: ``Rate = Annotated[float, Ge(0)]``."""
        return assignments(self.tree.body)

    @functools.cached_property
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
        above = package[: len(package) - node.level + is_package]
        return ".".join([*above, *([node.module] if node.module else [])])


def assignments(body: Iterable[ast.stmt]) -> dict[str, ast.expr]:
    """Return the last value that the body of a module or class assigns to each name."""
    values: dict[str, ast.expr] = {}
    for node in body:
        if isinstance(node, ast.Assign):
            values |= {name.id: node.value for name in node.targets if isinstance(name, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            values[node.target.id] = node.value
    return values


def locate(name: str) -> Module | None:
    """Return the source of the module ``name``; None where it has none that can be read.

    Nothing is imported: only the top package is asked for where it is, and the rest are folders.

    Raises:
        NotRead: if the source is there but is not Python.
    """
    top, *submodules = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not submodules:
        is_source = spec.origin is not None and spec.origin.endswith(".py")
        return module_at(Path(str(spec.origin)), name) if is_source else None
    for folder in spec.submodule_search_locations or ():
        stem = Path(folder, *submodules)
        for path in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
            if os.path.isfile(path):
                return module_at(path, name)
    return None


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


@functools.lru_cache(maxsize=512)
def _parsed(path: Path, name: str, modified: int) -> Module:
    return Module(name, path, ast.parse(path.read_bytes()))
