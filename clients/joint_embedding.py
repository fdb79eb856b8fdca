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

from fedsim.adapt.features import JointFeatures
from fedsim.adapt.messages import ADAPTS
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
        reply: Weights = {}
        for rows in batches(len(examples)):
            with torch.no_grad():
                z = model.eval().features(examples.inputs[rows]).double()  # type: ignore[operator]
            sums = {
                "sum": z.sum(dim=0),
                "squares": z.square().sum(),
                "count": z.new_tensor(len(z)),
            }
            reply = {name: reply[name] + value if reply else value for name, value in sums.items()}
        return Update(
            instruction.client.id,
            {},
            len(examples),
            extras={ADAPTS: {}, "spread": reply},
        )

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
        reply: Weights = {} if total is None else {"mean": total / len(examples)}
        return Update(
            instruction.client.id,
            {},
            len(examples),
            extras={ADAPTS: {}, "embedding": reply},
        )

    def objective(self, model: nn.Module, instruction: Instruction) -> Objective:
        """Return the loss of a batch: classification, and distance to the other role's mean."""
        embed = _JointForward(instruction)
        other = instruction.broadcast.extras["other"]["mean"]
        strength = float(instruction.broadcast.settings["strength"])

        def loss(inputs: Tensor, labels: Tensor | None) -> Tensor:
            features, logits = seen(model, inputs)
            total = logits.new_zeros(())
            if labels is not None:
                each = F.cross_entropy(logits, labels, reduction="none")
                total = total + (each * embed.counts("class", labels, each)).mean()
            mean = embed.of(features, logits, labels).mean(dim=0)
            return total + strength * (mean - other.to(mean.dtype)).square().sum()

        return loss


class _JointForward:
    """The joint features of one client's turn."""

    def __init__(self, instruction: Instruction) -> None:
        settings = instruction.broadcast.settings
        self._features = JointFeatures(
            int(settings["features"]), float(settings["bandwidth"]), int(settings["seed"])
        )
        self._ratios = instruction.broadcast.extras.get("ratios", {})

    def counts(self, name: str, labels: Tensor | None, like: Tensor) -> Tensor:
        """Return what each example counts, `(n,)`."""
        if labels is None or name not in self._ratios:
            return like.new_ones(len(like))
        return self._ratios[name].to(like.dtype)[labels]

    def of(self, features: Tensor, logits: Tensor, labels: Tensor | None) -> Tensor:
        """Return each example's joint features times what it counts, `(n, 10 count)`."""
        features_of_batch = self._features(features, logits.softmax(dim=1))
        return features_of_batch * self.counts("domain", labels, features_of_batch[:, 0])[:, None]
