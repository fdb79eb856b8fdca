"""A YAML 1.2 file as a tree in which every value knows where it was written.

PyYAML reads YAML 1.1, where ``1e-3`` is a text, ``no`` is false and ``12:30`` is 750.  Here the
core schema of YAML 1.2 is used, without tags, merge keys and dates: a scenario is plain values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from fedsim.errors import Fault, ScenarioError
from fedsim.scenario.node import Scalar, SourceLocation, Step, YamlNode
from fedsim.scenario.yaml_core import DEEPEST, MOST_NODES, TAG, Dumper, Loader
from fedsim.schema.wording import shown

__all__ = ["dump", "parse", "read"]

MOST_BYTES = 1_000_000


def read(path: Path, name: str = "") -> tuple[YamlNode, list[Fault]]:
    """Return the mapping in the file, and the faults that do not keep it from being read.

    Args:
        path: the file.
        name: what faults call it; the path, unless said otherwise.

    Raises:
        ScenarioError: if there is no such file, or it is not a YAML mapping.
    """
    whole_file = SourceLocation(name or str(path), folder=path.parent)
    reader = _Reader(_text(path, whole_file), whole_file)
    root = reader.root()
    if not isinstance(root.value, dict):
        message = f"a mapping (key: value) is expected, got {shown(root.plain())}"
        raise ScenarioError([root.place.fault("", message)])
    return root, reader.faults


def parse(text: str, place: SourceLocation) -> tuple[YamlNode, list[Fault]]:
    """Return the value that ``text`` is in YAML, as if it had been written at ``place``."""
    reader = _Reader(text, place, is_line=False)
    return (reader.root() if text.strip() else YamlNode(None, place, place)), reader.faults


def _text(path: Path, whole_file: SourceLocation) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            message = f"more than {MOST_BYTES // 1_000_000} MB is no scenario"
            raise ScenarioError([whole_file.fault("", message)])
        raw = path.read_bytes()
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        fault = replace(whole_file, line=line, column=column).fault("", "not UTF-8 text")
        raise ScenarioError([fault]) from error
    except FileNotFoundError as error:
        raise ScenarioError([whole_file.fault("", "no such file")]) from error
    except IsADirectoryError as error:
        raise ScenarioError([whole_file.fault("", "a folder, not a file")]) from error
    except (OSError, ValueError) as error:
        raise ScenarioError([whole_file.fault("", f"cannot be read: {error}")]) from error


def dump(values: Mapping[str, Any], flat: bool = False) -> str:
    """Return the plain ``values`` as YAML that :func:`read` and other readers take alike.

    Args:
        values: the mapping.
        flat: on one line, ``{a: 1, b: [2]}``.
    """
    width = 10**9 if flat else 100
    text: str = yaml.dump(
        dict(values),
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=width,
        default_flow_style=flat,
    )
    return text


class _Reader:
    """From PyYAML's nodes to ours, collecting what is wrong on the way."""

    def __init__(self, text: str, place: SourceLocation, is_line: bool = True) -> None:
        self.text, self.place, self.is_line = text, place, is_line
        self.lines = text.splitlines()
        self.faults: list[Fault] = []
        self.nodes = 0

    def root(self) -> YamlNode:
        composed = self._compose()
        if composed is None:
            raise ScenarioError([self.place.fault("", "the file is empty")])
        return self._node(composed, (), self._place(composed.start_mark))

    def _compose(self) -> Any:
        try:
            loader = Loader(self.text)
            try:
                return loader.get_single_node()
            finally:
                loader.dispose()
        except yaml.reader.ReaderError as error:
            place = self._at_offset(error.position)
            message = f"the character {chr(error.character)!a} is not allowed in YAML"
            raise ScenarioError([place.fault("", message)]) from error
        except yaml.MarkedYAMLError as error:
            raise ScenarioError([self._syntax(error)]) from error

    def _syntax(self, error: yaml.MarkedYAMLError) -> Fault:
        place = self._place(error.problem_mark or error.context_mark)
        indent = re.match(r"\s*", place.source)
        if indent and "\t" in indent[0]:
            return replace(place, column=indent[0].index("\t") + 1).fault(
                "", "a tab in the indentation", "YAML is indented with spaces"
            )
        problem = error.problem or "cannot be read"
        if error.context is None and not isinstance(error, yaml.scanner.ScannerError):
            return place.fault("", problem)
        if "another document" in problem:
            return place.fault("", "a second document (---): a scenario is one document")
        return place.fault("", f"not YAML: {problem}")

    def _place(self, mark: Any) -> SourceLocation:
        if not self.is_line or mark is None:
            return self.place
        source = self.lines[mark.line] if mark.line < len(self.lines) else ""
        return replace(self.place, line=mark.line + 1, column=mark.column + 1, source=source)

    def _at_offset(self, offset: int) -> SourceLocation:
        line = self.text.count("\n", 0, offset)
        column = offset - self.text.rfind("\n", 0, offset)
        return replace(self.place, line=line + 1, column=column) if self.is_line else self.place

    def _node(self, node: Any, path: tuple[Step, ...], key: SourceLocation) -> YamlNode:
        place = self._place(node.start_mark)
        self.nodes += 1
        if self.nodes > MOST_NODES or len(path) > DEEPEST:  # aliases repeat what was composed once
            message = f"aliases that come to more than {MOST_NODES} values"
            raise ScenarioError([place.fault("", message)])
        if isinstance(node, yaml.MappingNode):
            return YamlNode(dict(self._items(node, path)), place, key)
        if isinstance(node, yaml.SequenceNode):
            marked = [(item, self._place(item.start_mark)) for item in node.value]
            items = [self._node(item, (*path, k), at) for k, (item, at) in enumerate(marked)]
            return YamlNode(items, place, key)
        return YamlNode(self._scalar(node, path, place), place, key)

    def _items(self, mapping: Any, path: tuple[Step, ...]) -> Iterator[tuple[str, YamlNode]]:
        first: dict[str, int] = {}
        for key, value in mapping.value:
            place = self._place(key.start_mark)
            if key.tag != TAG + "str":
                key_text = key.value if isinstance(key, yaml.ScalarNode) else "..."
                message = f"the key {key_text} is not text; write it in quotes if it is meant"
                self.faults.append(place.fault(path, message))
            elif key.value == "<<":
                message = "merge keys (<<) are not part of YAML 1.2"
                self.faults.append(
                    place.fault(path, message, "a scenario can name a parent: extends")
                )
            elif key.value in first:
                message = f"duplicate key; the first is on line {first[key.value]}"
                self.faults.append(place.fault((*path, key.value), message))
            else:
                first[key.value] = place.line
                yield key.value, self._node(value, (*path, key.value), place)

    def _scalar(self, node: Any, path: tuple[Step, ...], place: SourceLocation) -> Scalar:
        text, tag = str(node.value), node.tag.removeprefix(TAG)
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        if tag == "int" and len(text) <= 20:
            base = {"0o": 8, "0x": 16}.get(text[:2], 10)
            number = int(text, base)
            if -(2**63) <= number < 2**63:
                return number
        if tag == "int":
            self.faults.append(place.fault(path, "the number does not fit in 64 bits"))
            return 0
        if tag == "float":
            real = float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
            if not math.isfinite(real):
                self.faults.append(place.fault(path, f"a finite number is expected, got {text}"))
            return real
        return text
