"""What is wrong between a local update rule, its optimizer and the other keys of ``local``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fedsim.errors import Fault
from fedsim.plugins.signature import Signature
from fedsim.scenario.node import YamlNode

__all__ = ["OF_SGD", "has_optimizer", "optimizer_faults", "unsupported"]

OF_SGD = ("lr", "momentum", "weight_decay")
"""Keys of ``local`` that are those of SGD; another optimizer has its own."""


def has_optimizer(entries: Mapping[str, YamlNode]) -> bool:
    """Return whether ``local`` names an optimizer."""
    return "optimizer" in entries and entries["optimizer"].value is not None


def unsupported(
    path: tuple[str, ...], entries: Mapping[str, YamlNode], signature: Signature
) -> Iterator[Fault]:
    """Yield a fault for each key that the rule cannot heed, with the reason."""
    for name, reason in _pairs(signature.constants.get("unsupported", ())):
        node, parameter = entries.get(name), signature.parameters.get(name)
        default = parameter.default if parameter else None
        default = list(default) if isinstance(default, tuple) else default
        if node is not None and node.plain() != default:
            message = f"{signature.name} does without it: {reason}"
            yield node.place.fault((*path, name), message, f"leave {name!r} out")


def _pairs(value: Any) -> Iterator[tuple[str, str]]:
    for pair in value if isinstance(value, tuple) else ():
        if isinstance(pair, tuple) and len(pair) == 2:
            yield str(pair[0]), str(pair[1])


def optimizer_faults(
    path: tuple[str, ...],
    entries: Mapping[str, YamlNode],
    signature: Signature,
    optimizer: Signature,
) -> Iterator[Fault]:
    """Yield what is wrong between a rule and the optimizer that it is given.

    Args:
        path: of the rule.
        entries: its parameters, as they are written.
        signature: of the rule.
        optimizer: of the optimizer.
    """
    place = entries["optimizer"].place
    algorithm = signature.constants.get("linear_for", "")
    if algorithm and not optimizer.constants.get("linear", False):
        message = f"{algorithm} needs steps linear in the gradient (sgd)"
        hint = f"{optimizer.name}'s are not: what they are worth per unit of gradient is not known"
        yield place.fault((*path, "optimizer"), message, hint)
    for name in OF_SGD:
        if name in entries and name in signature.parameters:
            message = "belongs to SGD without a key optimizer, and there is one"
            is_there = name in optimizer.parameters
            hint = f"write it as {'.'.join(path)}.optimizer.{name}" if is_there else "leave it out"
            yield entries[name].key.fault((*path, name), message, hint)
    state = entries.get("state")
    if state is not None and state.value == "keep" and not optimizer.constants.get("keeps", True):
        message = f"what {optimizer.name} remembers cannot be kept from round to round"
        hint = "an optimizer of fedsim's own shelf can: fedsim list optimizers"
        yield state.place.fault((*path, "state"), message, hint)
