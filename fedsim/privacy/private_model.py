"""Is a model fit for a private run?  Asked once, before round 1."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedsim.errors import Fault, ScenarioError
from fedsim.models._state import inventory
from fedsim.privacy.privacy_spec import PrivacySpec

__all__ = ["check_private_model"]


def check_private_model(model: nn.Module, claim: PrivacySpec) -> None:
    """Refuse a model that would tell of its examples what no noise covers.

    Under record-level privacy noise covers gradients; a buffer that a training pass moves, as that
    of spectral norm, would leave beside them as it is.  Under client-level privacy all that is sent
    is clipped and gets noise, buffers too.

    Args:
        model: of the run, in training mode.
        claim: what is promised.

    Raises:
        ScenarioError: at ``model``, with the name of the layer.
    """
    for name, layer in model.named_modules():
        # With statistics that are frozen it stays in evaluation mode, and mixes nothing.
        if isinstance(layer, _BatchNorm) and layer.training:
            what = f"{type(layer).__name__} ({name}) mixes the examples of a batch, so no "
            why = "example's share can be clipped, and noise makes its variances negative; "
            hint = "use GroupNorm under privacy, or finetune.batch_norm: frozen"
            raise ScenarioError([Fault("", 0, 0, "model", f"{what}{why}{hint}")])
    moving = [entry.name for entry in inventory(model) if entry.kind == "buffer"]
    if moving and claim.privacy.unit == "record":
        message = f"the buffer {moving[0]} moves in training, and would leave without noise"
        hint = "take a layer without such state, or register it with persistent=False"
        raise ScenarioError([Fault("", 0, 0, "model", message, hint)])
