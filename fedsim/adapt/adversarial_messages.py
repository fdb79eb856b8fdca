"""The messages between DANN, CDAN, their reweighted forms and their clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.adapt.heeded import Heeded
from fedsim.messages import Message, TensorRecord
from fedsim.wire import Broadcast, Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Discriminator", "DiscriminatorReply", "FeatureRows", "MeanCertainty"]


@dataclass(frozen=True)
class Discriminator(Message):
    """From an adversarial strategy to its clients."""

    adversary: Weights
    """The discriminator's weights."""
    conditional: bool
    """It sees the product of predictions and features, as CDAN's does."""
    entropy: bool
    """Examples count by how certain their prediction is."""
    reversal: float
    """How strongly features are moved to deceive it, from 0 to 1."""
    trade_off: float
    """What the domains' loss counts beside the classification loss."""
    dropout: float
    turn: int
    """How often this phase was asked for in this round, from 0."""
    unit: bool
    """It sees features of unit length."""
    blurred: bool
    """It sees features that were clipped and got noise."""
    domain_loss_cap: float | None = None
    """Above this loss, in nats, an example no longer moves its features."""
    penalty: float | None = None
    """With FedMM: how strongly a client is pulled to what was sent."""
    penalty_now: float | None = None
    """With FedMM: what duals are divided by in what a client sends."""

    @classmethod
    def weights_in(cls, broadcast: Broadcast) -> Weights:
        """Return the discriminator's weights; none where the server sent none, as references do."""
        return cls.from_broadcast(broadcast).adversary if cls.is_in(broadcast) else {}


@dataclass(frozen=True)
class MeanCertainty(TensorRecord):
    """How certain a batch's predictions are on average: a number."""

    mean: Tensor


@dataclass(frozen=True)
class FeatureRows(TensorRecord):
    """Features of single examples, with noise, ``(n, width)``."""

    rows: Tensor


@dataclass(frozen=True)
class DiscriminatorReply(Heeded):
    """From a client of an adversarial strategy."""

    adversary: Weights | None = None
    """The discriminator's gradient, or how far it moved."""
    deceit: Weights | None = None
    """The model's gradient of the domain's loss, where it is weighted by itself."""
    certainty: Weights | None = None
    """:class:`MeanCertainty`, where examples count by it."""
    rows: Weights | None = None
    """:class:`FeatureRows`; empty from a client without examples."""
