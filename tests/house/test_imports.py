"""Who may import whom: a table that is a tower, and rooms that keep to it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELVES = ("strategies", "clients")

# Each room, from the ground up, with the rooms that it may import.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "heap": set(),
    "wire": set(),
    "seeds": set(),
    "words": set(),
    "python_file": set(),
    "annotations": {"python_file"},
    "signature": {"words"},
    "plugin_source": {"annotations", "python_file", "signature"},
    "registry": {"errors", "plugin_source", "python_file", "signature", "words"},
    "adapt": {"errors", "seeds", "wire"},
    "aggregate": {"wire"},
    "check": {"wire"},
    "client": {"errors", "wire"},
    "metrics": {"wire"},
    "cohort": {"seeds"},
    "evaluate": {"client"},
    "report": {"errors", "python_file", "seeds", "wire"},
    "strategy": {"aggregate", "wire"},
    "privacy": {
        *("aggregate", "client", "cohort", "errors", "registry"),
        *("report", "seeds", "strategy", "wire"),
    },
    "scenario": {"errors", "privacy", "registry", "signature", "words"},
    "models": {"registry", "seeds", "wire"},
    "data": {"client", "errors", "registry", "seeds", "wire"},
    "clients": {"adapt", "client", "errors", "models", "privacy", "wire"},
    "strategies": {"adapt", "aggregate", "clients", "errors", "models", "strategy", "wire"},
    "worker": {"client", "data", "errors", "evaluate", "heap", "models", "seeds", "wire"},
    "flower": {
        *("aggregate", "check", "client", "cohort", "data", "errors", "metrics"),
        *("privacy", "registry", "scenario", "seeds", "strategy", "wire", "worker"),
    },
    "runtime": {"data", "errors", "flower", "scenario", "strategy", "wire", "worker"},
    "references": {"errors", "flower", "report", "wire", "worker"},
    "judge": {"adapt", "data", "evaluate", "flower", "models", "report", "scenario", "wire"},
    "atlas": {"data", "models", "scenario", "wire"},
    "round": {"cohort", "errors", "flower", "metrics", "report", "seeds", "strategy", "wire"},
    "plan": {"data", "errors", "flower", "models", "privacy", "runtime", "scenario", "wire"},
    "simulation": {
        *("atlas", "data", "errors", "flower", "judge", "models", "privacy", "references"),
        *("registry", "report", "round", "runtime", "scenario", "strategy", "wire"),
    },
    "study": {
        *("errors", "plan", "privacy", "report", "runtime", "scenario", "seeds", "simulation"),
    },
    "edge": {
        *("data", "errors", "flower", "models", "privacy", "registry", "report", "scenario"),
        *("seeds", "simulation", "wire", "worker"),
    },
    "cli": {
        *("data", "edge", "errors", "models", "plan", "privacy", "python_file", "registry"),
        *("report", "runtime", "scenario", "signature", "simulation", "study", "words"),
    },
    "__main__": {"cli"},
}

# Runtime names the values that Flower's messages are made of, and runs nothing of Flower.
ONLY_IN = {
    "flwr": {"flower", "runtime"},
    "ray": {"runtime"},
    "opacus": set[str](),
    "dp_accounting": {"privacy"},
}
"""Which rooms may import the packages that a room stands for."""


def rooms() -> list[tuple[str, Path]]:
    engine = [path for path in (ROOT / "fedsim").rglob("*.py")]
    parts = {path: path.relative_to(ROOT / "fedsim").parts for path in engine}
    inside = [
        (parts[path][0].removesuffix(".py"), path)
        for path in engine
        if parts[path][0] not in SHELVES
    ]
    shelved = [(shelf, path) for shelf in SHELVES for path in (ROOT / shelf).rglob("*.py")]
    return sorted((room, path) for room, path in inside + shelved if room != "__init__")


def imports(path: Path, types_too: bool = False) -> Iterator[str]:
    """Yield the modules that are imported at run time, at the top or inside a function."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            yield from (f"fedsim.{a.name}" for a in node.names) if name == "fedsim" else [name]
        is_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        waiting += [] if is_types and not types_too else ast.iter_child_nodes(node)


def test_the_table_is_a_tower() -> None:
    below: set[str] = set()
    for room, imported in MAY_IMPORT.items():
        assert imported <= below, f"{room} imports upward: {sorted(imported - below)}"
        below.add(room)


def test_the_table_names_every_room_and_no_other() -> None:
    assert {room for room, _ in rooms()} == set(MAY_IMPORT)


def test_a_room_imports_only_what_it_may() -> None:
    astray = []
    for room, path in rooms():
        taken = {name.split(".")[1] for name in imports(path) if name.startswith("fedsim.")}
        wrong = taken - {room} - MAY_IMPORT[room]
        astray += [f"{path.name} of {room} imports {other}" for other in sorted(wrong)]
    assert astray == []


def test_a_big_package_is_imported_in_one_room() -> None:
    astray = {
        f"{path.name} of {room} imports {package}"
        for room, path in rooms()
        for package in {name.split(".")[0] for name in imports(path, types_too=True)}
        if package in ONLY_IN and room not in ONLY_IN[package]
    }
    assert astray == set()


def test_nothing_but_a_shelf_points_to_a_shelf() -> None:
    astray = set()
    for room, path in rooms():
        taken = {name.split(".")[1] for name in imports(path, types_too=True) if "fedsim." in name}
        allowed = {"strategies": set(SHELVES), "clients": {"clients"}}.get(room, set())
        astray |= {f"{path.name} of {room}: {shelf}" for shelf in taken & set(SHELVES) - allowed}
    assert astray == set()


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    code = (
        "import sys, fedsim.cli, fedsim.scenario.load, fedsim.scenario.explain; "
        "heavy = ('torch', 'ray', 'flwr', 'sklearn', 'datasets', 'matplotlib', 'pandas'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
