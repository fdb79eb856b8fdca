"""The rules of the house: what ships, what things are called, what no file may hold."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fedsim
from fedsim.plugins.registry import SHELVES, find, names
from fedsim.scenario.load import load
from fedsim.scenario.study_file import is_study, load_study

ROOT = Path(__file__).parents[2]
CODE = sorted(
    path
    for folder in ("fedsim", "strategies", "clients", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if path.relative_to(ROOT).parts[:2] not in (("fedsim", "strategies"), ("fedsim", "clients"))
)
WRITTEN = [
    path
    for pattern in (
        "*",
        ".ci/*",
        "configs/*",
        "scenarios/*",
        "docs/*",
        "docs/**/*.md",
        "tests/**/*.py",
    )
    for path in sorted(ROOT.glob(pattern))
    if path.is_file() and path.suffix in {"", ".md", ".py", ".toml", ".txt", ".yaml"}
]

# Loading one of these runs what a stranger wrote, or takes a stranger's word for it.
FORBIDDEN = {
    "eval",
    "exec",
    "pickle.load",
    "pickle.loads",
    "cloudpickle.loads",
    "yaml.load",
    "yaml.full_load",
    "yaml.unsafe_load",
    "os.system",
}
LONGEST = 50
"""Statements' lines in a function, its docstring and comments left out."""
MOST = 5
"""Parameters of a function; more means that a dataclass is missing."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_room_ships() -> None:
    setup = project()["tool"]["setuptools"]
    folders = {path.parent for path in (ROOT / "fedsim").rglob("*.py")}
    rooms = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert rooms <= set(setup["packages"])
    assert set(setup["package-dir"]) <= set(setup["packages"])
    # git keeps no empty folder, and a clone without it could not be installed
    assert all(any((ROOT / folder).iterdir()) for folder in setup["package-dir"].values())


@pytest.mark.parametrize("shelf", ["strategies", "clients"])
def test_a_shelf_beside_the_engine_is_seen_inside_it(shelf: str) -> None:
    inside = ROOT / "fedsim" / shelf
    # Where git makes no links it leaves a file with the link's text, and pyproject.toml's map
    # alone brings the shelf into the package.
    assert inside.resolve() == ROOT / shelf or inside.read_text().strip() == f"../{shelf}"


@pytest.mark.parametrize("kind", SHELVES)
def test_every_file_on_a_shelf_holds_a_class_that_is_called_like_it(kind: str) -> None:
    assert names(kind)
    for name in names(kind):
        assert find(kind, name).__name__.lower() == name.replace("_", "")


def test_the_public_names_are_sorted_and_exist() -> None:
    public = getattr(fedsim, "__all__", [])
    assert list(public) == sorted(public)
    assert all(hasattr(fedsim, name) for name in public)


def test_a_module_says_in_its_first_sentence_what_it_is() -> None:
    for path in CODE:
        doc = ast.get_docstring(tree(path)) or ""
        assert doc.split("\n\n")[0].rstrip("`")[-1:] in (".", "?", "!", ":"), path
        assert path.read_text(encoding="utf-8").startswith('"""'), path


def test_a_module_says_what_it_offers() -> None:
    silent = [
        path
        for path in CODE
        if path.stem not in ("__init__", "__main__")
        and "benchmarks" not in path.parts  # scripts, which nobody imports
        and not any(
            isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            for node in tree(path).body
        )
    ]
    assert silent == []


def test_nothing_runs_what_it_reads() -> None:
    for path in CODE:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert called not in FORBIDDEN, f"{path}:{node.lineno}"
                if called == "torch.load":
                    assert given.get("weights_only") == "True", f"{path}:{node.lineno}"
                if called == "np.load":
                    assert given.get("allow_pickle") == "False", f"{path}:{node.lineno}"


def test_one_file_makes_generators_of_random_numbers() -> None:
    makers = ("default_rng", "manual_seed", "seed", "SeedSequence", "RandomState")
    astray = [
        f"{path}:{node.lineno}"
        for path in CODE
        if path.name != "seeds.py" and "benchmarks" not in path.parts
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in makers
    ]
    assert astray == []


def test_nothing_is_asserted_outside_tests() -> None:
    nodes = [(path, node) for path in CODE for node in ast.walk(tree(path))]
    assert [f"{p}:{n.lineno}" for p, n in nodes if isinstance(n, ast.Assert)] == []


def functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    for path in CODE:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                yield path, node


def test_a_function_fits_on_a_screen() -> None:
    long = [
        f"{path.name}: {node.name} has {lines} lines"
        for path, node in functions()
        if (lines := sum(len(ast.unparse(part).splitlines()) for part in body(node))) > LONGEST
    ]
    assert long == []


def body(node: ast.FunctionDef) -> list[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node) else node.body


def test_a_function_takes_few_parameters() -> None:
    many = [
        f"{path.name}: {node.name}"
        for path, node in functions()
        if "cli" not in path.parts  # There every option of a command is one.
        and sum(a.arg not in ("self", "cls") for a in node.args.args + node.args.kwonlyargs) > MOST
    ]
    assert many == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    # In pieces, so that this file does not find itself.
    places = re.compile(r"(?<![\w.~*{}$)-])/" + r"(?:root|work|opt|tmp|Users)/\w+")
    found = {p: m for p in WRITTEN if (m := places.search(p.read_text(encoding="utf-8")))}
    assert found == {}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "scenarios").rglob("*.yaml")), ids=lambda path: path.stem
)
def test_every_scenario_loads(path: Path) -> None:
    if is_study(path):
        assert load_study(path).cells
    else:
        assert load(path).rounds >= 1
