"""Who may import whom: rooms keep to the floor plan, and no two files import each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.house.floor_plan import FLOORS, PAGE, ROOMS, ROOT, written

SHELVES = ("strategies", "clients")

# Runtime and engine name the values that Flower's messages are made of, and run nothing of Flower.
ONLY_IN = {
    "flwr": {"flower", "runtime", "engine"},
    "ray": {"runtime"},
    "opacus": set[str](),
    "dp_accounting": {"privacy"},
}
"""Which rooms may import the packages that a room stands for."""


def modules() -> dict[str, Path]:
    """Return every file of fedsim by its dotted name; the shelves are inside."""
    found = {}
    for top in ("fedsim", *SHELVES):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[:2] in (("fedsim", "strategies"), ("fedsim", "clients")):
                continue  # links: each file is seen once
            parts = parts if parts[0] == "fedsim" else ("fedsim", *parts)
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports(path: Path) -> Iterator[str]:
    """Yield what is imported: at the top, inside functions, and for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)


IMPORTS = {module: set(imports(path)) for module, path in MODULES.items()}
OURS = {module: {name for name in IMPORTS[module] if name in MODULES} for module in MODULES}


def test_a_room_imports_only_lower_floors() -> None:
    below: set[str] = set()
    for floor in FLOORS:
        for name, room in floor.items():
            assert room.imports <= below, f"{name} imports upward: {sorted(room.imports - below)}"
        below |= floor.keys()


def test_the_plan_names_every_room_and_no_other() -> None:
    assert {room_of(module) for module in MODULES if module != "fedsim"} == set(ROOMS)


def test_a_room_imports_what_the_plan_says() -> None:
    taken: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module, others in OURS.items():
        if module != "fedsim":  # the package itself hands out fedsim.load, when asked
            taken[room_of(module)] |= {room_of(other) for other in others if other != "fedsim"}
    wrong = {
        room: sorted((others - {room}) ^ ROOMS[room].imports)
        for room, others in taken.items()
        if others - {room} != ROOMS[room].imports
    }
    assert wrong == {}


def test_no_files_import_each_other_in_a_circle() -> None:
    try:
        tuple(TopologicalSorter(OURS).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_a_big_package_is_imported_in_one_room() -> None:
    astray = {
        f"{module} imports {package}"
        for module, names in IMPORTS.items()
        for package in {name.split(".")[0] for name in names} & ONLY_IN.keys()
        if room_of(f"{module}.") not in ONLY_IN[package]
    }
    assert astray == set()


def test_nothing_but_a_shelf_points_to_a_shelf() -> None:
    allowed = {"strategies": {"strategies"}, "clients": {"clients"}}
    astray = {
        f"{module} imports {other}"
        for module, others in OURS.items()
        if module != "fedsim"
        for other in others - {"fedsim"}
        if room_of(other) in SHELVES and room_of(other) not in allowed.get(room_of(module), set())
    }
    assert astray == set()


def test_the_page_on_architecture_shows_the_plan() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == written(text), "run: python -m tests.house.floor_plan"


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    code = (
        "import sys, fedsim.cli, fedsim.scenario.load, fedsim.scenario.key_help; "
        "heavy = ('torch', 'ray', 'flwr', 'sklearn', 'datasets', 'matplotlib', 'pandas'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
