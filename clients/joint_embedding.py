"""SGD towards the other domain's mean embedding, as JAN and IWJAN ask of clients.

References:
    Long, Zhu, Wang, Jordan, "Deep Transfer Learning with Joint Adaptation Networks", ICML 2017,
    arXiv:1605.06636.  Random features in place of the kernel, and the federated form, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedsim.adapt.embedding_messages import (
    EmbeddingReply,
    FeatureSpread,
    JointEmbeddingTerms,
    MeanEmbedding,
)
from fedsim.adapt.features import JointFeatures
from fedsim.adapt.gls_messages import SourceRatios, SourceWeights
from fedsim.client import Examples
from fedsim.clients._adapting import Adapting, Objective, batches
from fedsim.models._split import check_split, seen
from fedsim.wire import Instruction, Update, Weights

__all__ = ["JointEmbedding"]


@dataclass(frozen=True)
class JointEmbedding(Adapting):
    """A source learns its labels, and every domain's batches move towards the other's mean."""

    unbounded: ClassVar[str] = (
        "features have no bounded length, so neither has their spread, and the mean of a batch has "
        "no share of one example to cut"
    )

    def spread(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return the sum of the features, of their squared lengths, and their number."""
        check_split(model, "joint_embedding")
        total: FeatureSpread | None = None
        for rows in batches(len(examples)):
            with torch.no_grad():
                z = model.eval().features(examples.inputs[rows]).double()  # type: ignore[operator]
            part = FeatureSpread(z.sum(dim=0), z.square().sum(), z.new_tensor(len(z)))
            total = part if total is None else total + part
        reply = EmbeddingReply(spread={} if total is None else total.to_weights())
        return Update(instruction.client.id, {}, len(examples), extras=reply.to_extras())

    def embedding(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return the mean of this client's joint features, weighted by class at a source."""
        model.eval()
        embed, total = _JointForward(instruction), None
        for rows in batches(len(examples)):
            labels = examples.labels[rows] if instruction.client.role == "source" else None
            with torch.no_grad():
                embedded_sum = (
                    embed.of(*seen(model, examples.inputs[rows]), labels).double().sum(dim=0)
                )
            total = embedded_sum if total is None else total + embedded_sum
        mean: Weights = {}
        if total is not None:
            mean = MeanEmbedding(total / len(examples)).to_weights()
        reply = EmbeddingReply(embedding=mean)
        return Update(instruction.client.id, {}, len(examples), extras=reply.to_extras())

    def objective(self, model: nn.Module, instruction: Instruction) -> Objective:
        """Return the loss of a batch: classification, and distance to the other role's mean."""
        embed = _JointForward(instruction)
        terms = JointEmbeddingTerms.from_broadcast(instruction.broadcast)
        other = MeanEmbedding.from_weights(terms.other or {}).mean

        def loss(inputs: Tensor, labels: Tensor | None) -> Tensor:
            features, logits = seen(model, inputs)
            total = logits.new_zeros(())
            if labels is not None:
                each = F.cross_entropy(logits, labels, reduction="none")
                total = total + (each * embed.class_weights(labels, each)).mean()
            mean = embed.of(features, logits, labels).mean(dim=0)
            return total + terms.strength * (mean - other.to(mean.dtype)).square().sum()

        return loss


class _JointForward:
    """The joint features of one client's turn."""

    def __init__(self, instruction: Instruction) -> None:
        terms = JointEmbeddingTerms.from_broadcast(instruction.broadcast)
        self._features = JointFeatures(terms.features, terms.bandwidth, terms.seed)
        ratios = SourceRatios.from_broadcast(instruction.broadcast).ratios
        self._weights = None if ratios is None else SourceWeights.from_weights(ratios)

    def class_weights(self, labels: Tensor, like: Tensor) -> Tensor:
        """Return what each example counts in the classification loss, `(n,)`."""
        if self._weights is None:
            return like.new_ones(len(like))
        return self._weights.of_class.to(like.dtype)[labels]

    def domain_weights(self, labels: Tensor | None, like: Tensor) -> Tensor:
        """Return what each example counts in the mean embedding, `(n,)`."""
        if labels is None or self._weights is None:
            return like.new_ones(len(like))
        return self._weights.domain.to(like.dtype)[labels]

    def of(self, features: Tensor, logits: Tensor, labels: Tensor | None) -> Tensor:
        """Return each example's joint features times what it counts, `(n, 10 count)`."""
        features_of_batch = self._features(features, logits.softmax(dim=1))
        return features_of_batch * self.domain_weights(labels, features_of_batch[:, 0])[:, None]
