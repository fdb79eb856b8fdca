"""Names and shapes of code: a stranger finds a thing by the field's word for it, in one place."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from fedsim.plugins import registry
from fedsim.plugins.registry import SHELVES
from fedsim.scenario.keys import fields
from fedsim.scenario.node import dotted
from tests.house.floor_plan import ROOT
from tests.house.test_imports import MODULES

VAGUE = {
    "one",
    "found",
    "said",
    "told",
    "own",
    "made",
    "held",
    "seen",
    "kept",
    "whole",
    "apart",
    "asked",
}
"""Words that say nothing of what they are bound to."""
LIFE = 5
"""Lines for which any name will do: its binding is still in sight."""
MOST_VAGUE = 0.01
LONGEST_MODULE = 250
DANGLING = ("Of ", "In ", "By ", "For ", "From ")

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def bindings(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    """Yield every binding: its name, its line, and the line of its last use in the same scope."""
    for scope in ast.walk(tree):
        if not isinstance(scope, Scope):
            continue
        lines: dict[str, list[int]] = defaultdict(list)
        bound: list[tuple[str, int]] = []
        for node in own_nodes(scope):
            if isinstance(node, ast.Name):
                lines[node.id].append(node.lineno)
                if isinstance(node.ctx, ast.Store):
                    bound.append((node.id, node.lineno))
            elif isinstance(node, ast.arg):
                lines[node.arg].append(node.lineno)
                bound.append((node.arg, node.lineno))
        for name, line in bound:
            yield name, line, max(lines[name])


def own_nodes(scope: Scope) -> Iterator[ast.AST]:
    """Yield the nodes of a scope, without those of the functions inside it."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Scope):
            waiting += ast.iter_child_nodes(node)


def test_vague_words_are_bound_where_their_meaning_is_in_sight() -> None:
    total, vague = 0, Counter[str]()
    for module, tree in TREES.items():
        for name, first, last in bindings(tree):
            total += 1
            if name in VAGUE and last - first >= LIFE:
                vague[f"{module}: {name}"] += 1
    assert sum(vague.values()) < MOST_VAGUE * total, vague.most_common(20)


def test_a_class_name_stands_in_one_module() -> None:
    places = defaultdict(set)
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].add(module)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_a_file_name_stands_in_one_room() -> None:
    places = defaultdict(set)
    for path in MODULES.values():
        if path.stem not in ("__init__", "__main__"):
            places[path.name].add(str(path.parent.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_a_module_is_short() -> None:
    lengths = {
        module: len(path.read_text(encoding="utf-8").splitlines())
        for module, path in MODULES.items()
    }
    assert {module: lines for module, lines in lengths.items() if lines > LONGEST_MODULE} == {}


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def is_condition(node: ast.AST) -> bool:
    is_negation = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return isinstance(node, ast.Compare | ast.BoolOp) or is_negation


def test_no_text_is_multiplied_by_a_condition() -> None:
    clever = [
        f"{module}:{node.lineno}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)
        if {is_text(node.left), is_text(node.right)} == {True, False}
        if is_condition(node.left) or is_condition(node.right)
    ]
    assert clever == []


def test_no_literal_tuple_is_starred_to_steer_the_formatter() -> None:
    clever = [
        f"{module}:{node.lineno}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Starred) and isinstance(node.value, ast.Tuple | ast.List)
    ]
    assert clever == []


def test_the_glossary_names_what_is_there() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    names = {
        name
        for row in text.splitlines()
        if row.startswith("|")
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    known = {
        getattr(node, "name", "")
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    assert len(names) >= 40
    assert names - known == set()


@pytest.mark.parametrize("kind", sorted(SHELVES))
def test_what_a_parameter_does_is_a_sentence_of_its_own(kind: str) -> None:
    """It is read alone, in ``fedsim explain strategy.mu`` and in editors."""
    documents = {
        f"{name}.{parameter.name}": parameter.doc
        for name in registry.names(kind)
        for parameter in registry.describe(kind, name).parameters.values()
    }
    assert not {key: doc for key, doc in documents.items() if doc.startswith(DANGLING)}


def test_what_a_key_does_is_a_sentence_of_its_own() -> None:
    documents = {dotted(path): field.description or "" for path, field in fields()}
    assert not {key: doc for key, doc in documents.items() if doc.startswith(DANGLING)}
