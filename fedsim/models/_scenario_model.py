"""The model of a scenario: built, and settled what of it is trained and what is exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from fedsim.models._buffers import constant_buffers
from fedsim.models._build import build
from fedsim.models._finetune import fine_tuned
from fedsim.models._state import mark_exchanged
from fedsim.named_tensors import NamedShapes
from fedsim.seeds import torch_defaults

if TYPE_CHECKING:
    from fedsim.schema.scenario import Scenario

__all__ = ["scenario_model"]


def scenario_model(
    scenario: Scenario, shape: tuple[int, ...] | NamedShapes, outputs: int
) -> nn.Module:
    """Return the model that ``scenario`` describes, with the weights it starts from.

    Args:
        scenario: of a run; its seed decides over the first weights.
        shape: of one example; by name, where it has several inputs.
        outputs: how many numbers the task wants of an example, or of a place in it.

    Raises:
        ScenarioError: if there is no such model, or its parts are not as the scenario says.
    """
    model = build(scenario.model, shape, outputs, scenario.seed, scenario.folder)
    frozen: frozenset[str] = frozenset()
    if scenario.finetune is not None:
        with torch_defaults(scenario.seed, "finetune"):
            frozen = fine_tuned(model, scenario.finetune)
    with torch_defaults(scenario.seed, "buffers"):
        mark_exchanged(model, frozen | constant_buffers(model, shape))
    return model
