"""Does the data fit the rest of a scenario, as far as its headers tell?

It imports neither NumPy nor torch: ``fedsim check`` asks before anything is read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fedsim.data.header import FieldSpec, Header
from fedsim.data.named_fit import named_faults
from fedsim.errors import DataError, Fault
from fedsim.plugins.python_file import NotRead, assignments, locate
from fedsim.plugins.registry import build, describe, names
from fedsim.task import TargetSpec

if TYPE_CHECKING:
    from fedsim.schema.scenario import Scenario

__all__ = ["data_faults", "model_faults", "peeked", "task_name"]


def task_name(scenario: Scenario) -> str:
    """Return the name of what there is to learn."""
    return scenario.task.use


def peeked(scenario: Scenario) -> Header | None:
    """Return what the headers of a scenario's data tell; None where its source cannot say.

    Raises:
        DataError: if a file is not there, or has not what the scenario says of it.
    """
    part, beside = scenario.data.source, scenario.folder
    if "peek" not in describe("source", part.use, beside).methods:
        return None
    header: Header = build("source", part, beside).peek(beside)
    return header


def data_faults(scenario: Scenario) -> list[Fault]:
    """Return all that headers tell to be wrong, without places in the file."""
    try:
        header = peeked(scenario)
    except DataError as error:
        where = f"data.source.{error.parameter}".removesuffix(".")
        return [Fault("", 0, 0, where, str(error))]
    if header is None:
        return []
    return [*_targets(scenario, header), *_inputs(scenario, header), *_clients(scenario, header)]


def _targets(scenario: Scenario, header: Header) -> Iterator[Fault]:
    """Ask the task, where it is one of the shelf: these import no torch before they are used."""
    targets = header.targets
    if targets is None or targets.shape is None or scenario.task.use not in names("task"):
        return
    spec = TargetSpec(targets.shape, targets.dtype, header.classes or _classes(targets))
    if reason := build("task", scenario.task, scenario.folder, targets=spec).refusal():
        yield Fault("", 0, 0, "data.source", reason)


def _classes(targets: FieldSpec) -> int:
    """Return a number of classes where there are some and headers do not tell how many."""
    return 2 if targets.kind == "classes" else 0


def _inputs(scenario: Scenario, header: Header) -> Iterator[Fault]:
    inputs = header.fields.get("inputs")
    if header.fields and inputs is None:
        yield from named_faults(scenario, [*header.fields])
    if inputs is not None:
        yield from model_faults(scenario, inputs.dtype, inputs.kind == "tokens")


def model_faults(scenario: Scenario, dtype: str, are_tokens: bool) -> Iterator[Fault]:
    """Yield what is wrong between a model of the shelf and inputs of a type, if anything is.

    Args:
        scenario: its ``model`` alone matters.
        dtype: of the inputs.
        are_tokens: whether they are token ids.
    """
    model = scenario.model.use
    if model not in names("model"):
        return
    takes_tokens = _takes_tokens(model)
    if are_tokens and not takes_tokens:
        message = f"{model} takes numbers, and the inputs are token ids ({dtype})"
        yield Fault("", 0, 0, "model", message, "for amounts: data.source.inputs_as: numbers")
    if takes_tokens and not are_tokens:
        message = f"{model} takes token ids, and the inputs are {dtype}"
        yield Fault("", 0, 0, "model", message)


def _takes_tokens(model: str) -> bool:
    """Return whether a model of the shelf looks token ids up: it says so, or has an embedding."""
    try:
        module = locate(f"fedsim.models.{model}")
    except NotRead:
        return True
    if module is None:
        return True
    for node in module.classes.values():
        if "takes" in (values := assignments(node.body)):
            return "tokens" in ast.unparse(values["takes"])
    words = (node for node in ast.walk(module.tree) if isinstance(node, ast.Attribute | ast.Name))
    return any(ast.unparse(word).endswith("Embedding") for word in words)


def _clients(scenario: Scenario, header: Header) -> Iterator[Fault]:
    use, count = scenario.data.partition.use, scenario.clients.count
    if use == "natural" and header.has_clients is False:
        message = "the natural partition needs each example's client, and the data has none"
        yield Fault(
            "", 0, 0, "data.partition", message, "say data.source.client: its column or key"
        )
    if use == "domains" and header.has_domains is False:
        message = "the domains partition needs each example's domain, and the data has none"
        yield Fault(
            "", 0, 0, "data.partition", message, "say data.source.domain: its column or key"
        )
    if count is not None and header.rows is not None and count > header.rows:
        message = f"{count} clients cannot share {header.rows} examples"
        yield Fault("", 0, 0, "clients.count", message)
