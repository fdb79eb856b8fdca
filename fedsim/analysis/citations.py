"""What a comparison rests on: papers that methods and data cite, as text and BibTeX; licences."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsim.plugins.python_file import NotRead, locate, module_at

__all__ = ["Citation", "PluginOrigin", "cited_by", "origin_of"]


@dataclass(frozen=True)
class Citation:
    """A paper."""

    text: str
    """As the method's file has it."""
    bibtex: str
    """Empty where the text does not say enough to be exact."""


@dataclass(frozen=True)
class PluginOrigin:
    """Where data comes from."""

    name: str
    licence: str
    """As the source's file has it; empty where it cannot know."""
    citations: tuple[Citation, ...]


def origin_of(source: Mapping[str, Any]) -> PluginOrigin:
    """Return what the file of a data source says of it; nothing is imported.

    Args:
        source: the part of a scenario: ``use``, and ``path`` where it has one.
    """
    use, path = str(source.get("use", "")), source.get("path")
    doc = _doc(use, "fedsim.data.sources")
    licence_text = re.search(r"^Licence:\s*((?:.+\n?)+)", doc, re.MULTILINE)
    licence = " ".join(licence_text[1].split()).rstrip(".") if licence_text else ""
    name = f"{use} {str(path).rpartition('/')[2] if use != 'hf' else path}" if path else use
    return PluginOrigin(name, licence, tuple(_citation(text) for text in _references(doc)))


def cited_by(uses: list[str]) -> dict[str, list[Citation]]:
    """Return what the strategies' files cite, by strategy; who cites nothing is left out.

    Nothing is imported: the ``References:`` of a module's docstring are read as text.

    Args:
        uses: strategies as scenarios name them: of the shelf, ``package.module:Class``, or a file.
    """
    cited = {}
    for use in dict.fromkeys(uses):
        if citations := [_citation(text) for text in _references(_doc(use))]:
            cited[use] = citations
    return cited


def _doc(use: str, shelf: str = "fedsim.strategies") -> str:
    where = use.rpartition(":")[0]
    try:
        if where.endswith(".py"):
            module = module_at(Path(where))
        else:
            located = locate(where or f"{shelf}.{use}")
            if located is None:
                return ""
            module = located
    except NotRead:
        return ""
    return ast.get_docstring(module.tree) or ""


def _references(doc: str) -> list[str]:
    """Return the paragraphs of a docstring's last part, ``References:``."""
    part = re.search(r"^References:\n((?:[ \t]+\S.*\n?|\s*\n)+)", doc, re.MULTILINE)
    if part is None:
        return []
    joined = re.sub(r"[ \t]*\n[ \t]*", " ", part[1].strip())
    papers = re.split(r"(?<=\.) (?=\w[\w'-]*, [A-Z])", joined)
    return [paper.partition(".  ")[0].strip().rstrip(".") + "." for paper in papers]  # no remarks


_PAPER = re.compile(
    r'(?P<authors>[^"]+), "(?P<title>[^"]+)", (?P<venue>[^,\d]*?)\s*(?P<year>(?:19|20)\d\d)'
    r"(?:, arXiv:(?P<arxiv>[\w.]+\d))?"
)


def _citation(text: str) -> Citation:
    paper = _PAPER.match(text)
    if paper is None:
        return Citation(text, "")
    names = [name.strip() for name in paper["authors"].split(",")]
    venue = f"{paper['venue']} {paper['year']}".strip()
    first = re.sub(r"[^a-z]", "", names[0].lower()) or "paper"
    word = next((w for w in re.findall(r"[a-z]+", paper["title"].lower()) if len(w) > 3), "")
    fields = {
        "author": " and ".join(f"{{{name}}}" if " " in name else name for name in names),
        "title": f"{{{paper['title']}}}",
        "howpublished": venue if paper["venue"] else "",
        "year": paper["year"],
        "eprint": paper["arxiv"] or "",
        "archivePrefix": "arXiv" if paper["arxiv"] else "",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return Citation(text, "\n".join([f"@misc{{{first}{paper['year']}{word},", *lines, "}"]))
