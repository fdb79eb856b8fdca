"""One tree from a scenario file, its parents and the command line: the later has the last word."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fedsim.errors import Fault, ScenarioError
from fedsim.scenario import yaml_file
from fedsim.scenario.keys import known_at
from fedsim.scenario.local_rules import OF_SGD, has_optimizer
from fedsim.scenario.node import SourceLocation, YamlNode
from fedsim.scenario.renamed_keys import superseded, with_new_names
from fedsim.schema.scenario import PARTS
from fedsim.schema.wording import did_you_mean, shown

__all__ = ["assemble", "overlaid", "presets"]

FILE_SOURCES = ("csv", "folder", "frame", "npz", "parquet", "torch")
SHORT_SOURCE = re.compile(rf"({'|'.join(FILE_SOURCES)}|hf|catalogue):(.+)", re.DOTALL)
SHORT_MODEL = re.compile(r"(torchvision|timm|hf):(.+)", re.DOTALL)
OWN = ("name", "description", "extends")
"""Keys that say something of one file and are not inherited."""
LOCAL = ("local",)
NAMED_LISTS = (("tracking",), ("evaluation", "metrics"))
"""Lists whose items may name a class in a file."""


def assemble(path: Path, overrides: Sequence[str]) -> tuple[YamlNode, list[Fault]]:
    """Return the scenario in ``path``, over its parents and under ``overrides``.

    Every plug-in part comes out as a mapping with ``use``, and files named there as absolute
    paths, because such a path starts at the parent's folder.

    Args:
        path: the scenario file.
        overrides: ``a.b=value`` each, with the value in YAML.

    Raises:
        ScenarioError: if a file cannot be read at all, or is its own ancestor.
    """
    tree, faults = _with_parents(path, str(path), ())
    for override in overrides:
        above, wrong = _override(override)
        tree = _merged(tree, above, ())
        faults += wrong
    return tree, faults


def overlaid(tree: YamlNode, key: str, value: YamlNode) -> tuple[YamlNode, list[Fault]]:
    """Return ``tree`` with ``value`` written at the dotted ``key``, and what is wrong with it."""
    faults: list[Fault] = []
    for step in reversed(key.split(".")):
        value = YamlNode({step: value}, value.place, value.place)
    return _merged(tree, _normal(value, (), faults), ()), faults


def presets() -> dict[str, Path]:
    """Return the scenario files that come with fedsim, by name."""
    package = Path(__file__).parents[1]
    is_checkout = (package.parent / "pyproject.toml").is_file()
    folder = package.parent if is_checkout else package  # an installed one holds both folders
    files = [file for name in ("configs", "scenarios") for file in (folder / name).glob("*.yaml")]
    return {file.stem: file for file in sorted(files)}


def _with_parents(
    path: Path, name: str, children: tuple[Path, ...]
) -> tuple[YamlNode, list[Fault]]:
    tree, faults = yaml_file.read(path, name)
    tree = _normal(tree, (), faults)
    extends = tree.child("extends")
    if extends is None or extends.value is None:
        return tree, faults
    if not isinstance(extends.value, str):
        return tree, faults  # the schema says what is wrong with it
    descendants = (*children, path.resolve())
    try:
        parent, shown_as = _parent(extends, path, name)
        if not os.path.isfile(parent):
            raise _refusal(extends, f"there is no file {shown(shown_as)}")
        if parent.resolve() in descendants:
            raise _refusal(extends, f"{extends.value} extends this file: a cycle")
        below, wrong = _with_parents(parent, shown_as, descendants)
    except ScenarioError as error:
        raise ScenarioError([*faults, *error.faults]) from error
    inherited = {key: node for key, node in _items(below) if key not in OWN}
    return _merged(below.with_value(inherited), tree, ()), faults + wrong


def _parent(extends: YamlNode, path: Path, name: str) -> tuple[Path, str]:
    reference = str(extends.value)
    if not reference.startswith("preset:"):
        return path.parent / reference, os.path.normpath(Path(name).parent / reference)
    preset, available = reference.removeprefix("preset:"), presets()
    if preset not in available:
        hint = did_you_mean(preset, available) or f"there are {', '.join(available) or 'none'}"
        raise _refusal(extends, f"no preset is called {preset!r}", hint)
    return available[preset], reference


def _refusal(extends: YamlNode, message: str, hint: str = "") -> ScenarioError:
    return ScenarioError([extends.place.fault("extends", message, hint)])


def _override(override: str) -> tuple[YamlNode, list[Fault]]:
    place = SourceLocation(f"--set {override}", folder=Path.cwd())
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        message = "KEY=VALUE is expected, such as strategy.mu=0.1"
        return YamlNode({}, place, place), [place.fault("", message)]
    try:
        node, faults = yaml_file.parse(text, place)
    except ScenarioError as error:
        return YamlNode({}, place, place), [replace(fault, key=key) for fault in error.faults]
    for step in reversed(path):
        node = YamlNode({step: node}, place, place)
    node = _normal(node, (), faults)
    return node, [replace(fault, key=fault.key or key) for fault in faults]


def _items(node: YamlNode) -> Iterable[tuple[str, YamlNode]]:
    return node.value.items() if isinstance(node.value, dict) else ()


def _merged(below: YamlNode, above: YamlNode, path: tuple[str, ...]) -> YamlNode:
    """Return ``above`` over ``below``: mappings key by key, all else is replaced."""
    is_inside = path[:1] == LOCAL and len(path) > 1
    if is_inside and isinstance(below.value, str):  # a nested plug-in by its name alone
        below = below.with_value({"use": below})
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    is_part = path in PARTS or is_inside
    if is_part and "use" in above.value and _use(above.value) != _use(below.value):
        return above  # another plug-in has other parameters
    replaced = set(superseded(path, below.value, above.value) if path in PARTS else ())
    if path == LOCAL and has_optimizer(above.value):
        replaced |= set(OF_SGD)  # the optimizer has its own
    merged = {key: node for key, node in below.value.items() if key not in replaced}
    for key, node in above.value.items():
        merged[key] = _merged(merged[key], node, (*path, key)) if key in merged else node
    return above.with_value(merged)


def _use(part: Mapping[str, YamlNode]) -> object:
    return part["use"].plain() if "use" in part else None


def _normal(node: YamlNode, path: tuple[str, ...], faults: list[Fault]) -> YamlNode:
    """Return the tree with every part as a mapping with ``use``."""
    if path in PARTS:
        return _part(node, path, faults)
    if path in NAMED_LISTS and isinstance(node.value, list):
        return node.with_value([_absolute(item) for item in node.value])
    if path == ("finetune", "weights") and isinstance(node.value, str):
        return node.with_value(os.path.abspath(node.place.folder / os.path.expanduser(node.value)))
    if not isinstance(node.value, dict):
        return node
    entries, wrong = with_new_names(path, node.value, known_at(path))
    faults += wrong
    return node.with_value(
        {key: _normal(value, (*path, key), faults) for key, value in entries.items()}
    )


def _part(node: YamlNode, path: tuple[str, ...], faults: list[Fault]) -> YamlNode:
    if isinstance(node.value, str):
        return _used(node, {"use": node}, path, faults)
    if not isinstance(node.value, dict):
        return node
    entries = dict(node.value)
    if "name" in entries and "use" in entries:
        message = "'use' and 'name' are the same word: keep one"
        faults.append(entries["name"].key.fault((*path, "name"), message))
        del entries["name"]
    if "name" in entries:
        entries = {"use": entries.pop("name"), **entries}
    return _used(node, entries, path, faults)


def _used(
    part: YamlNode, entries: dict[str, YamlNode], path: tuple[str, ...], faults: list[Fault]
) -> YamlNode:
    use = entries.get("use")
    if use is None or not isinstance(use.value, str):
        return part.with_value(entries)
    short = SHORT_SOURCE.fullmatch(use.value) if PARTS[path] == "source" else None
    if short:
        entries["use"] = use.with_value(short[1])
        key = "dataset" if short[1] == "catalogue" else "path"
        if key in entries:
            message = f"{shown(use.value)} is a {key} already"
            faults.append(entries[key].key.fault((*path, key), message))
        entries[key] = use.with_value(short[2])
    elif path == ("model",) and (foreign := SHORT_MODEL.fullmatch(use.value)):
        entries |= _foreign_model(use, foreign[1], foreign[2])
    else:
        entries["use"] = _absolute(use)
    return part.with_value(entries)


def _foreign_model(use: YamlNode, library: str, name: str) -> dict[str, YamlNode]:
    """Return the entries of a model of another library: ``timm:NAME``, or ``hf:FOLDER``."""
    if library != "hf":
        return {"use": use.with_value(library), "architecture": use.with_value(name)}
    return {"use": use.with_value("huggingface"), "path": use.with_value(name)}


def _absolute(use: YamlNode) -> YamlNode:
    """Return a plug-in's name with an absolute path, where it names a file."""
    file = re.fullmatch(r"(.+\.py):([^:]*)", use.value) if isinstance(use.value, str) else None
    if file is None:
        return use
    return use.with_value(f"{os.path.abspath(use.place.folder / file[1])}:{file[2]}")
