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
from fedsim.plugins.registry import build, describe, names, short
from fedsim.task import TargetSpec

if TYPE_CHECKING:
    from fedsim.schema.scenario import Scenario

__all__ = ["augment_faults", "data_faults", "model_faults", "peeked", "task_name"]


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
        yield from augment_faults(scenario, inputs)


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
    taken = _taken(model)
    if are_tokens and "tokens" not in taken:
        message = f"{model} takes numbers, and the inputs are token ids ({dtype})"
        yield Fault("", 0, 0, "model", message, "for amounts: data.source.inputs_as: numbers")
    if not are_tokens and "numbers" not in taken:
        message = f"{model} takes token ids, and the inputs are {dtype}"
        yield Fault("", 0, 0, "model", message)


def augment_faults(scenario: Scenario, inputs: FieldSpec) -> Iterator[Fault]:
    """Yield what is wrong between ``local.augment`` and the inputs, if anything is.

    Args:
        scenario: its ``local`` alone matters.
        inputs: of the data; a shape that headers do not tell is that of a table's columns.
    """
    named = scenario.local.parameters.get("augment")
    is_image = inputs.kind == "image" or len(inputs.shape or ()) == 3
    for position, part in enumerate(named if isinstance(named, list | tuple) else ()):
        name, key = short(part["use"]), f"local.augment[{position}]"
        if inputs.kind == "tokens":
            yield Fault("", 0, 0, key, f"{name} changes numbers, and the inputs are token ids")
            continue
        constants = describe("augmentation", part["use"], scenario.folder).constants
        if constants.get("of_images", False) and not is_image:
            message = f"{name} takes images (channels, height, width), and these inputs are none"
            hint = "gaussian_noise is for numbers of any kind"
            yield Fault("", 0, 0, key, message, hint)


def _taken(model: str) -> str:
    """Return what a model of the shelf takes: it says so, or has an embedding for tokens."""
    try:
        module = locate(f"fedsim.models.{model}")
    except NotRead:
        return "tokens"
    if module is None:
        return "tokens"
    for node in module.classes.values():
        if "takes" in (values := assignments(node.body)):
            return ast.unparse(values["takes"])
    words = (node for node in ast.walk(module.tree) if isinstance(node, ast.Attribute | ast.Name))
    has_embedding = any(ast.unparse(word).endswith("Embedding") for word in words)
    return "tokens" if has_embedding else "numbers"


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
