"""What a scenario's section ``finetune`` makes of a model: its weights, and what is trained."""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType

from torch import nn

from fedsim.models._lora import add_adapters
from fedsim.models._weights_file import finetune_fault, load_start, matches
from fedsim.schema.finetune import FineTune
from fedsim.schema.wording import did_you_mean, listed

__all__ = ["fine_tuned"]

_STATISTICS = nn.modules.batchnorm._NormBase


def fine_tuned(model: nn.Module, spec: FineTune) -> frozenset[str]:
    """Load, adapt and freeze ``model`` as ``spec`` says; return the buffers that then stand still.

    Args:
        model: as it was built; changed in place.  Draws, such as adapters', come from torch's
            default generator.
        spec: of the scenario.

    Raises:
        ScenarioError: at a key of ``finetune``, if the model is not as ``spec`` says.
    """
    load_start(model, spec)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    for key, patterns in (("train", spec.train), ("freeze", spec.freeze)):
        _check_patterns(key, patterns, names)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    if spec.lora is not None:
        add_adapters(model, spec.lora, spec.train)
    elif spec.train:
        model.requires_grad_(False)
    for name, parameter in parameters.items():
        if matches(name, spec.train):
            parameter.requires_grad_(True)
        elif matches(name, spec.freeze):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise finetune_fault("freeze", "nothing is left to train")
    return _frozen_statistics(model) if spec.batch_norm == "frozen" else frozenset()


def _check_patterns(key: str, patterns: Sequence[str], names: Sequence[str]) -> None:
    for at, pattern in enumerate(patterns):
        if not any(matches(name, [pattern]) for name in names):
            hint = did_you_mean(pattern, names) or f"there are {listed(names[:8])}"
            raise finetune_fault(f"{key}[{at}]", f"no parameter is called {pattern!r}", hint)


def _frozen_statistics(model: nn.Module) -> frozenset[str]:
    """Keep batch norms in evaluation mode for good; return the names of their statistics."""
    frozen = set()
    for name, module in model.named_modules():
        if isinstance(module, _STATISTICS):
            module.eval()
            # Bound to the module, so that a copy of it stays in evaluation mode too.
            module.train = MethodType(_stays, module)  # type: ignore[method-assign]
            frozen |= {f"{name}.{buffer}".lstrip(".") for buffer, _ in module.named_buffers()}
    return frozenset(frozen)


def _stays(module: nn.Module, mode: bool = True) -> nn.Module:
    return module
