"""The messages between DMPN and its clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.adapt.heeded import Heeded
from fedsim.messages import Message, TensorRecord
from fedsim.wire import Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ClassFeatureSums", "ClassMeans", "ClassSumsReply", "OtherDomain", "PrototypeTerms"]


@dataclass(frozen=True)
class ClassMeans(TensorRecord):
    """Prototypes, ``(classes, width)``."""

    means: Tensor


@dataclass(frozen=True)
class OtherDomain(TensorRecord):
    """The targets' class means, ``(classes, width)``, and over how many examples each is."""

    means: Tensor
    counts: Tensor


@dataclass(frozen=True)
class ClassFeatureSums(TensorRecord):
    """Sums of features by class, ``(classes, width)``, and counts, ``(classes,)``."""

    sums: Tensor
    counts: Tensor


@dataclass(frozen=True)
class PrototypeTerms(Message):
    """From DMPN to its clients."""

    classes: int
    threshold: float
    """A target example counts where its likeliest class has more probability than this."""
    means: float = 0.0
    """What the distance of class means counts."""
    nearest: float = 0.0
    """What a sure target example's distance to its prototype counts."""
    compactness: float = 0.0
    """What a source example's distance to its prototype counts."""
    learnt: bool = False
    """Prototypes are the head's weights."""
    prototypes: Weights | None = None
    """:class:`ClassMeans`, where they are not learnt."""
    other: Weights | None = None
    """:class:`OtherDomain`, after the targets' first sums."""


@dataclass(frozen=True)
class ClassSumsReply(Heeded):
    """From a client of DMPN."""

    class_sums: Weights | None = None
    """:class:`ClassFeatureSums`; empty where no class has enough examples."""
