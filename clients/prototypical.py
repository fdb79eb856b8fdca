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

from fedsim.adapt.messages import ADAPTS, CLASS_SUMS
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
        means_before = instruction.broadcast.extras.get("prototypes")
        classes = int(instruction.broadcast.settings["classes"])
        reply: Weights = {}
        for rows in batches(len(examples)):
            with torch.no_grad():
                z = model.eval().features(examples.inputs[rows]).double()  # type: ignore[operator]
            if instruction.client.role == "source":
                sums = class_sums(z, examples.labels[rows], classes)
            elif means_before is None:
                break
            else:
                distances = squared_distances(z, means_before["means"].double())
                labels, sure = confident(
                    distances, float(instruction.broadcast.settings["threshold"])
                )
                sums = class_sums(z[sure], labels[sure], classes)
            reply = {name: reply[name] + value if reply else value for name, value in sums.items()}
        if reply:
            enough = reply["counts"] >= self.min_examples
            reply = {"sums": reply["sums"] * enough[:, None], "counts": reply["counts"] * enough}
        return Update(
            instruction.client.id, {}, len(examples), extras={ADAPTS: {}, CLASS_SUMS: reply}
        )

    def objective(self, model: nn.Module, instruction: Instruction) -> Objective:
        """Return the loss of a batch, around the prototypes as they were sent."""
        check_split(model, "prototypical")
        settings, sent = instruction.broadcast.settings, instruction.broadcast.extras
        is_learnt = bool(settings["learnt"])
        # Learnt prototypes are the head's own weights: targets pull them, as sources do.
        means: Tensor = model.head.weight if is_learnt else sent["prototypes"]["means"]  # type: ignore[union-attr,assignment]
        to_means, to_nearest = float(settings["means"]), float(settings["nearest"])

        def of_source(inputs: Tensor, labels: Tensor) -> Tensor:
            z = features_of(model, inputs)
            distances = squared_distances(z, means.to(z.dtype))
            to_own_prototype = distances.gather(1, labels[:, None]).mean() / 2
            loss = (
                F.cross_entropy(-distances / 2, labels)
                + float(settings["compactness"]) * to_own_prototype
            )
            if is_learnt:
                return loss
            is_known = sent["other"]["counts"] > 0
            other = sent["other"]["means"].to(z.dtype)
            return loss + to_means * mean_gap(z, labels, other, is_known)

        def of_target(inputs: Tensor) -> Tensor:
            z = features_of(model, inputs)
            distances = squared_distances(z, means.to(z.dtype))
            labels, sure = confident(distances.detach(), float(settings["threshold"]))
            if not bool(sure.any()):
                return 0 * z.sum()
            near = distances[sure].gather(1, labels[sure][:, None]).mean() / 2
            is_known = torch.ones(len(means), dtype=torch.bool, device=z.device)
            gap = mean_gap(z[sure], labels[sure], means.to(z.dtype), is_known)
            return to_nearest * near + to_means * gap

        return lambda x, y: of_target(x) if y is None else of_source(x, y)
