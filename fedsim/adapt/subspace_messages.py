"""The messages between JDME and its clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fedsim.adapt.heeded import Heeded
from fedsim.messages import Message, TensorRecord
from fedsim.wire import Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["JdmeReply", "LinearHead", "RawHead", "SearchAnswer", "SearchQuestion", "SearchTerms"]


@dataclass(frozen=True)
class LinearHead(TensorRecord):
    """A linear classifier: weight ``(classes, width)`` and bias ``(classes,)``, float64."""

    weight: Tensor
    bias: Tensor
    KEYS: ClassVar[Mapping[str, str]] = {"weight": "raw.weight", "bias": "raw.bias"}


@dataclass(frozen=True)
class RawHead(Message):
    """From JDME to targets, before there is a subspace."""

    raw: Weights | None = None
    """:class:`LinearHead` on inputs as they are."""


@dataclass(frozen=True)
class SearchQuestion(TensorRecord):
    """A subspace; with a pull the slope is asked for there, and else the class sums."""

    basis: Tensor
    """Shape ``(width, dimensions)``."""
    pull: Tensor | None = None
    """The discrepancy's derivative by class sums, ``(classes, 2 features)``."""


@dataclass(frozen=True)
class SearchAnswer(TensorRecord):
    """What a client's rows add to the slope, ``(width, dimensions)``."""

    slope: Tensor


@dataclass(frozen=True)
class SearchTerms(Message):
    """From JDME with a Gaussian kernel to all clients."""

    random: bool = False
    """Classes are compared by random features."""
    features: int = 0
    bandwidth: float = 0.0
    seed: int = 0
    trial: Weights | None = None
    """:class:`SearchQuestion`; empty once all steps are taken."""


@dataclass(frozen=True)
class JdmeReply(Heeded):
    """From a client of JDME."""

    moments: Weights | None = None
    """Packed :class:`~fedsim.adapt.joint_matching.Moments`, or an answer of the search."""
    raw: Weights | None = None
    """:class:`LinearHead` on inputs as they are."""
    fitted: Weights | None = None
    """:class:`LinearHead` in the subspace."""
