"""Class ratios under label shift: sums from clients, and what a source's classes count.

They travel beside whatever the strategy that is reweighted says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fedsim.adapt.heeded import Heeded
from fedsim.messages import Message, TensorRecord
from fedsim.wire import Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GlsReply", "GlsSums", "SourceRatios", "SourceWeights"]


@dataclass(frozen=True)
class GlsSums(TensorRecord):
    """A source's sums have a confusion matrix, a target's have predictions."""

    confusion: Tensor | None = None
    """Shape ``(classes, classes)``, see :func:`fedsim.adapt.gls.confusion_sum`."""
    prediction: Tensor | None = None
    """The sum of predicted probabilities, ``(classes,)``."""


@dataclass(frozen=True)
class GlsReply(Heeded):
    """From a client of a reweighted strategy."""

    gls: Weights | None = None
    """:class:`GlsSums`; empty from a client without examples."""


@dataclass(frozen=True)
class SourceWeights(TensorRecord):
    """How much a source's examples count by their class, ``(classes,)`` each."""

    domain: Tensor
    """Before the discriminator, or in the mean embedding."""
    of_class: Tensor
    """In the classification loss."""
    KEYS: ClassVar[Mapping[str, str]] = {"of_class": "class"}


@dataclass(frozen=True)
class SourceRatios(Message):
    """From a reweighted strategy to its sources, once there are ratios."""

    ratios: Weights | None = None
    """:class:`SourceWeights`."""
