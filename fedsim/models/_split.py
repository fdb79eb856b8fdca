"""Models in two parts: a body that makes features, and a linear head on them.

FedDM and domain adaptation compare features and logits of real, synthetic or other clients'
examples, side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedsim.errors import RunError
from fedsim.models._passes import narrowed

__all__ = [
    "SplitModel",
    "at_once",
    "check_split",
    "class_means",
    "embedded",
    "features_of",
    "mismatch",
    "seen",
]


_BATCH_NORMS = nn.modules.batchnorm._BatchNorm

PIXELS = 3 * 2**14
"""Numbers in the inputs of one forward pass on a CPU: 16 images of 3 x 32 x 32, 62 of 28 x 28."""


class SplitModel(nn.Module):
    """A classifier in two parts, for the methods that compare or share features.

    Args:
        body: from inputs `(n, *shape)` to anything that flattens to `(n, width)`.
        width: how many features the body makes of one example.
        classes: how many logits the head makes of them.
    """

    def __init__(self, body: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(width, classes)  # (n, width) -> (n, classes)

    def features(self, inputs: Tensor) -> Tensor:
        """Return what the head sees of ``inputs``, `(n, width)`."""
        features: Tensor = self.body(inputs)
        return features.flatten(1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, `(n, classes)`."""
        logits: Tensor = self.head(self.features(inputs))
        return logits


def check_split(model: nn.Module, rule: str) -> None:
    """Refuse a model that is not made of ``features(x)`` and ``head(z)``, or that couples examples.

    Args:
        model: of a client.
        rule: the client half that asks, for the message.

    Raises:
        RunError: if it has no features of an example alone.
    """
    if not all(callable(getattr(model, part, None)) for part in ("features", "head")):
        raise RunError(
            f"{rule} needs a model with features(x) and head(z), which {type(model).__name__} "
            "lacks: take a reference model, or add the two"
        )
    coupled = [name for name, m in model.named_modules() if isinstance(m, _BATCH_NORMS)]
    if coupled:
        raise RunError(
            f"{rule} cannot work on batch normalisation ({coupled[0]}): it makes an example's "
            "features depend on the others in its batch; take norm: instance, group or none"
        )


def features_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return features, `(n, width)`, multiplied as ``compute.precision`` says."""
    with narrowed(model, inputs.device):
        features: Tensor = model.features(inputs)  # type: ignore[operator]  # checked before
    return features.to(inputs.dtype)


def seen(model: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return features, `(n, width)`, and logits, `(n, classes)`, likewise."""
    features = features_of(model, inputs)
    with narrowed(model, inputs.device):
        logits: Tensor = model.head(features)  # type: ignore[operator]
    return features, logits.to(inputs.dtype)


def embedded(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return ``[h; z]``, features and logits: `(n, *features) -> (n, width + classes)`."""
    return torch.cat(seen(model, inputs), dim=1)


def at_once(inputs: Tensor) -> int:
    """Return how many of ``inputs``, `(n, *features)`, go through a model fastest together.

    All on an accelerator; on a CPU so many that a layer's outputs stay in its cache, a number
    that depends on the shape of an example alone.
    """
    if inputs.device.type != "cpu":
        return max(1, len(inputs))
    return max(1, PIXELS // max(1, inputs[0].numel()))


def class_means(model: nn.Module, inputs: Tensor, average: Tensor) -> Tensor:
    """Return the class means of ``[h; z]``, without a gradient: `(classes, width + logits)`.

    Args:
        model: makes features and logits.
        inputs: a batch of all classes, `(batch, *features)`.
        average: the matrix of class means, `(classes, batch)`.
    """
    with torch.no_grad():
        parts = torch.split(inputs, at_once(inputs))
        return average @ torch.cat([embedded(model, part) for part in parts])


def mismatch(real: Tensor, synthetic: Tensor) -> Tensor:
    """Return equation 1: squared distances of class means, summed over coordinates and classes.

    As features and logits stand side by side, this is the sum of both terms.

    Args:
        real: means over each class's real batch, `(classes, width + classes of the model)`.
        synthetic: means over its synthetic images, likewise.
    """
    return (real - synthetic).square().sum()
