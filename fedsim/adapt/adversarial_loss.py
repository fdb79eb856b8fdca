"""The losses of one client's training against a domain discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedsim.adapt.adversarial_messages import Discriminator, MeanCertainty
from fedsim.adapt.adversary import (
    certainty,
    cut,
    domain_logit,
    domain_losses,
    product,
    reverse,
    unit_length,
)
from fedsim.adapt.gls_messages import SourceRatios, SourceWeights
from fedsim.models._split import check_split, seen
from fedsim.wire import Instruction, Weights

__all__ = ["AdversarialLoss", "DomainLossModule"]


class AdversarialLoss:
    """What a client of either role minimises, and what the discriminator sees of it."""

    def __init__(
        self, model: nn.Module, instruction: Instruction, most: float | None = None
    ) -> None:
        """Take the server's word.

        Args:
            model: the client's, with ``features`` and ``head``.
            instruction: what is asked.
            most: the length that what the discriminator sees is cut to; None leaves it.

        Raises:
            RunError: if the model has no features of an example alone.
        """
        check_split(model, "adversarial")
        self._model, self._most = model, most
        self._terms = Discriminator.from_broadcast(instruction.broadcast)
        self._at_source = instruction.client.role == "source"
        ratios = SourceRatios.from_broadcast(instruction.broadcast).ratios
        weights = None if ratios is None else SourceWeights.from_weights(ratios)
        self._of_class = None if weights is None else weights.of_class
        self._of_domain = None if weights is None else weights.domain

    def learnable(self) -> Weights:
        """Return the discriminator's weights as leaves that collect gradients."""
        adversary = self._terms.adversary
        return {name: value.detach().clone().requires_grad_() for name, value in adversary.items()}

    def seen(self, inputs: Tensor, frozen: bool = False) -> tuple[Tensor, Tensor]:
        """Return features `(n, width)` and logits `(n, classes)`."""
        with torch.set_grad_enabled(not frozen):
            return seen(self._model, inputs)

    def loss(self, psi: Weights, inputs: Tensor, labels: Tensor | None) -> Tensor:
        """Return the classification loss of a source plus the domain's loss, reversed."""
        features, logits = self.seen(inputs)
        return self.classification(logits, labels) + self.deceit(psi, features, logits, labels)

    def classification(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean loss of a source's labels, as its classes count; 0 at a target."""
        if labels is None:
            return 0 * logits.sum()
        losses = F.cross_entropy(logits, labels, reduction="none")
        if self._of_class is not None:
            losses = losses * self._of_class.to(losses.dtype)[labels]
        return losses.mean()

    def deceit(
        self, psi: Weights, features: Tensor, logits: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return the domain's loss, which the model raises as the discriminator lowers it.

        With ``domain_loss_cap`` examples whose loss is above it leave the model alone; the
        discriminator learns from them all the same.
        """
        hidden = reverse(features, self._terms.reversal)
        if (cap := self._terms.domain_loss_cap) is not None:
            with torch.no_grad():
                losses = domain_losses(
                    domain_logit(psi, self.judged(features, logits)), self._at_source
                )
            is_open = losses <= cap
            hidden = torch.where(is_open.unsqueeze(1), hidden, features.detach())
        return self._terms.trade_off * self.domain_loss(psi, hidden, logits, labels)

    def certainty(self, logits: Tensor) -> Weights | None:
        """Return, with ``entropy``, what the domain's loss weighs beside other clients'.

        Each client divides by its own sum of certainties; so weighted, they come to the whole
        domain's.
        """
        if not self._terms.entropy:
            return None
        return MeanCertainty(certainty(logits.detach().softmax(dim=1)).mean()).to_weights()

    def judged(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return what the discriminator sees of each example, `(n, width)`."""
        if self._terms.unit:
            features = unit_length(features)
        if self._terms.conditional:
            features = product(logits.softmax(dim=1).detach(), features)
        return features if self._most is None else cut(features, self._most)

    def domain_loss(
        self, psi: Weights, features: Tensor, logits: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return half the domain's mean loss, weighted as the server says."""
        logit = domain_logit(psi, self.judged(features, logits), self._terms.dropout)
        losses = domain_losses(logit, self._at_source)
        if labels is not None and self._of_domain is not None:
            losses = losses * self._of_domain.to(losses.dtype)[labels]
        if not self._terms.entropy:
            return losses.mean() / 2
        sure = certainty(logits.softmax(dim=1).detach())
        return (sure / sure.sum() * losses).sum() / 2


class DomainLossModule(nn.Module):
    """One client's loss as a module, so that its model's weights can be swapped."""

    def __init__(
        self, model: nn.Module, contest: AdversarialLoss | None, psi: Weights, at_source: bool
    ) -> None:
        super().__init__()
        self.model = model
        self._contest, self._psi, self._at_source = contest, psi, at_source

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch; without a discriminator, of plain classification."""
        if self._contest is None:
            return F.cross_entropy(self.model(inputs), labels)
        return self._contest.loss(self._psi, inputs, labels if self._at_source else None)
