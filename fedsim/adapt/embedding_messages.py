"""The messages between JAN, its reweighted form and their clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.adapt.heeded import Heeded
from fedsim.messages import Message, TensorRecord
from fedsim.wire import Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EmbeddingReply", "FeatureSpread", "JointEmbeddingTerms", "MeanEmbedding"]


@dataclass(frozen=True)
class FeatureSpread(TensorRecord):
    """What the mean squared distance of features follows from."""

    sum: Tensor
    """Shape ``(width,)``."""
    squares: Tensor
    """The sum of squared lengths: a number."""
    count: Tensor


@dataclass(frozen=True)
class MeanEmbedding(TensorRecord):
    """A mean of joint random features, ``(10 features,)``."""

    mean: Tensor


@dataclass(frozen=True)
class JointEmbeddingTerms(Message):
    """From JAN to its clients, once there is a bandwidth."""

    features: int
    """Random frequencies for each bandwidth."""
    bandwidth: float
    seed: int
    """Of the frequencies."""
    strength: float
    """What the distance of the embeddings counts."""
    other: Weights | None = None
    """The other role's :class:`MeanEmbedding`, in training."""


@dataclass(frozen=True)
class EmbeddingReply(Heeded):
    """From a client of JAN."""

    spread: Weights | None = None
    """:class:`FeatureSpread`; empty from a client without examples."""
    embedding: Weights | None = None
    """:class:`MeanEmbedding`; empty from a client without examples."""
