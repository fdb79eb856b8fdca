"""How the documentation is built: Sphinx, Markdown by MyST, the theme Furo."""

from __future__ import annotations

import json
from importlib.metadata import version as installed
from pathlib import Path

from sphinx.application import Sphinx

project = "fedsim"
release = version = installed("fedsim")
extensions = ["myst_parser"]
exclude_patterns = ["_build", "_made"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"fedsim {release}"


SHOWN = (
    "strategy", "client", "source", "partition", "shift", "model", "sampler", "optimizer",
    "schedule", "augmentation", "stop_rule",
)  # fmt: skip
"""The kinds of plug-ins that pages list."""


def setup(app: Sphinx) -> None:
    """Write the tables that the code knows best, before Sphinx looks for its pages."""
    tables = Path(app.srcdir) / "_made"
    tables.mkdir(exist_ok=True)
    (tables / "keys.md").write_text(_keys(), encoding="utf-8")
    for kind in SHOWN:
        (tables / f"{kind}.md").write_text(_shelf(kind), encoding="utf-8")


def _keys() -> str:
    from fedsim.schema.scenario import Scenario

    lines = ["| key | default | meaning |", "|---|---|---|"]
    for name, field in Scenario.model_fields.items():
        key = field.alias or name
        inner = getattr(field.annotation, "model_fields", {})
        if not inner or name in ("model", "local", "strategy"):
            lines.append(_row(key, field))
        else:
            lines += [_row(f"{key}.{child}", below) for child, below in inner.items()]
    return "\n".join(lines) + "\n"


def _row(key: str, field: object) -> str:
    from pydantic.fields import FieldInfo

    if not isinstance(field, FieldInfo):
        raise TypeError(f"{key} is no field")
    default = "required" if field.is_required() else f"`{_plain(field.get_default())}`"
    return f"| `{key}` | {default} | {field.description} |"


def _plain(value: object) -> str:
    from pydantic import TypeAdapter

    value = getattr(value, "written", value)  # a count or a share
    text = json.dumps(TypeAdapter(object).dump_python(value, mode="json"))
    return text.strip('"') or text


def _shelf(kind: str) -> str:
    from fedsim.plugins.registry import describe, names
    from fedsim.plugins.signature import COMPUTED, REQUIRED
    from fedsim.schema.wording import expected

    lines = []
    for name in names(kind):
        signature = describe(kind, name)
        lines.append(f"**`{name}`** {signature.about}\n")
        for parameter in signature.parameters.values():
            has_default = parameter.default not in (REQUIRED, COMPUTED)
            default = f"; `{_plain(parameter.plain(parameter.default))}`" if has_default else ""
            about = f": {parameter.doc}" if parameter.doc else ""
            lines.append(f"- `{parameter.name}` ({expected(parameter.type)}{default}){about}")
        lines.append("")
    return "\n".join(lines)
