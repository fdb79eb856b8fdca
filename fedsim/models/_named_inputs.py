"""Models of several inputs: called with what they name in their ``forward``."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from fedsim.errors import Fault, ScenarioError
from fedsim.named_tensors import NamedTensors
from fedsim.schema.wording import did_you_mean

__all__ = ["take_by_name"]


def take_by_name(model: nn.Module, names: Collection[str]) -> None:
    """Let ``model(inputs)`` with named tensors call ``forward`` with those that it has names for.

    Its parameters and buffers keep their names: it is a hook, no wrapper.

    Args:
        model: changed in place.
        names: of the inputs that the data has.

    Raises:
        ScenarioError: if ``forward`` needs what the data has not, or takes nothing that it has.
    """
    parameters = inspect.signature(model.forward).parameters.values()
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    there = f"the inputs are {', '.join(names)}"
    for parameter in by_name:
        if parameter.default is parameter.empty and parameter.name not in names:
            hint = did_you_mean(parameter.name, names)
            raise _refusal(f"forward needs {parameter.name!r}, and {there}", hint)
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
    taken = [name for name in names if takes_any or name in {p.name for p in by_name}]
    if not taken:
        raise _refusal(f"forward takes none of its arguments by name, and {there}", "")

    def spread(
        module: nn.Module, arguments: tuple[Any, ...], words: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if len(arguments) != 1 or not isinstance(arguments[0], NamedTensors):
            return arguments, dict(words)
        return (), {**words, **{name: arguments[0][name] for name in taken}}

    model.register_forward_pre_hook(spread, with_kwargs=True)


def _refusal(message: str, hint: str) -> ScenarioError:
    return ScenarioError([Fault("", 0, 0, "model", message, hint)])
