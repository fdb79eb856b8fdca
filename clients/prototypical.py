"""SGD towards class prototypes that all domains share, as DMPN asks of clients.

References:
    Zhu et al., "Distribution Matching Prototypical Network for Unsupervised Domain Adaptation",
    submission to ICLR 2020: a reconstruction from its abstract; the federated form is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from fedsim.adapt.prototype_messages import (
    ClassFeatureSums,
    ClassMeans,
    ClassSumsReply,
    OtherDomain,
    PrototypeTerms,
)
from fedsim.adapt.prototypes import class_sums, confident, mean_gap, squared_distances
from fedsim.client import Examples
from fedsim.clients._adapting import Adapting, Objective, batches
from fedsim.models._split import check_split, features_of
from fedsim.wire import Instruction, Update, Weights

__all__ = ["Prototypical"]


@dataclass(frozen=True)
class Prototypical(Adapting):
    """A source gathers around its classes' prototypes, a target around those it surely is of."""

    min_examples: Annotated[int, Ge(1)] = 10
    """A class with fewer examples is not sent: the sum over one is that one."""
    unbounded: ClassVar[str] = (
        "features have no bounded length, so neither have their class sums, and the class means of "
        "a batch have no share of one example to cut"
    )

    def adapts(self, instruction: Instruction) -> bool:
        """Return whether this is DMPN's round: the references send no settings."""
        return bool(instruction.broadcast.settings)

    def prototypes(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return sums of features by class, at a target by the class that is surely meant."""
        check_split(model, "prototypical")
        terms = PrototypeTerms.from_broadcast(instruction.broadcast)
        total: ClassFeatureSums | None = None
        for rows in batches(len(examples)):
            with torch.no_grad():
                z = model.eval().features(examples.inputs[rows]).double()  # type: ignore[operator]
            if instruction.client.role == "source":
                sums = class_sums(z, examples.labels[rows], terms.classes)
            elif terms.prototypes is None:
                break
            else:
                means = ClassMeans.from_weights(terms.prototypes).means
                distances = squared_distances(z, means.double())
                labels, sure = confident(distances, terms.threshold)
                sums = class_sums(z[sure], labels[sure], terms.classes)
            total = sums if total is None else total + sums
        reply: Weights = {}
        if total is not None:
            enough = total.counts >= self.min_examples
            sent = ClassFeatureSums(total.sums * enough[:, None], total.counts * enough)
            reply = sent.to_weights()
        extras = ClassSumsReply(class_sums=reply).to_extras()
        return Update(instruction.client.id, {}, len(examples), extras=extras)

    def objective(self, model: nn.Module, instruction: Instruction) -> Objective:
        """Return the loss of a batch, around the prototypes as they were sent."""
        check_split(model, "prototypical")
        terms = PrototypeTerms.from_broadcast(instruction.broadcast)
        # Learnt prototypes are the head's own weights: targets pull them, as sources do.
        means: Tensor = (
            model.head.weight  # type: ignore[union-attr,assignment]
            if terms.learnt
            else ClassMeans.from_weights(terms.prototypes or {}).means
        )
        other = None if terms.learnt else OtherDomain.from_weights(terms.other or {})

        def of_source(inputs: Tensor, labels: Tensor) -> Tensor:
            z = features_of(model, inputs)
            distances = squared_distances(z, means.to(z.dtype))
            to_own_prototype = distances.gather(1, labels[:, None]).mean() / 2
            loss = F.cross_entropy(-distances / 2, labels) + terms.compactness * to_own_prototype
            if other is None:
                return loss
            gap = mean_gap(z, labels, other.means.to(z.dtype), other.counts > 0)
            return loss + terms.means * gap

        def of_target(inputs: Tensor) -> Tensor:
            z = features_of(model, inputs)
            distances = squared_distances(z, means.to(z.dtype))
            labels, sure = confident(distances.detach(), terms.threshold)
            if not bool(sure.any()):
                return 0 * z.sum()
            near = distances[sure].gather(1, labels[sure][:, None]).mean() / 2
            is_known = torch.ones(len(means), dtype=torch.bool, device=z.device)
            gap = mean_gap(z[sure], labels[sure], means.to(z.dtype), is_known)
            return terms.nearest * near + terms.means * gap

        return lambda x, y: of_target(x) if y is None else of_source(x, y)
