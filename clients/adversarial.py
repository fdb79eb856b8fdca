"""SGD against a domain discriminator, as DANN, CDAN and their reweighted forms ask of clients.

References:
    Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR 2016, arXiv:1505.07818.
    That each domain's share is computed where the domain is, is not of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedsim.adapt.adversary import certainty, domain_losses, product, reverse, verdict
from fedsim.client import Examples
from fedsim.clients._adapting import Adapting, Objective, repeated, slopes
from fedsim.clients._embedding import check_split
from fedsim.clients._layers import layers_draw_from
from fedsim.clients._places import place
from fedsim.wire import Task, Update, Weights

__all__ = ["Adversarial"]


@dataclass(frozen=True)
class Adversarial(Adapting):
    """A source learns its labels, and every domain deceives the discriminator that it is sent."""

    def adversary(
        self, model: nn.Module, examples: Examples, task: Task, draws: torch.Generator
    ) -> Update:
        """Return the discriminator's gradient on one batch of this domain; the model stays."""
        contest = _Contest(model, task)
        psi = contest.learnable()
        inputs, labels = self._batch(examples, task, draws)
        gradient = {name: torch.zeros_like(value) for name, value in psi.items()}
        if len(inputs):
            with layers_draw_from(draws, inputs.device):
                features, logits = contest.seen(inputs, frozen=True)
                loss = contest.domain_loss(psi, features, logits, labels)
            gradient = slopes(loss, psi)
        extras = {place(task.client): {}, "adversary": gradient}
        return Update(task.client.id, {}, len(examples), extras=extras)

    def gradient(
        self, model: nn.Module, examples: Examples, task: Task, draws: torch.Generator
    ) -> Update:
        """Return the gradients of the whole objective on one batch, the model's with a minus."""
        contest = _Contest(model, task)
        inputs, labels = self._batch(examples, task, draws)
        psi = contest.learnable()
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        both = {**trained, **psi}
        found = {name: torch.zeros_like(value) for name, value in both.items()}
        if len(inputs):
            with layers_draw_from(draws, inputs.device):
                loss = contest.loss(psi, inputs, labels)
            found |= slopes(loss, both)
        delta = {
            name: -found[name] if name in trained else torch.zeros_like(value)
            for name, value in task.broadcast.weights.items()
        }
        extras = {place(task.client): {}, "adversary": {name: found[name] for name in psi}}
        return Update(task.client.id, delta, len(examples), extras=extras)

    def objective(self, model: nn.Module, task: Task) -> Objective:
        """Return the loss of a batch against the discriminator as it was sent."""
        contest = _Contest(model, task)
        fixed = task.broadcast.extras["adversary"]
        return lambda inputs, labels: contest.loss(fixed, inputs, labels)

    def _batch(
        self, examples: Examples, task: Task, draws: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        turn = int(task.broadcast.settings["turn"])
        order = torch.randperm(len(examples), generator=repeated(draws, turn))
        rows = order[: self.batch_size].to(examples.inputs.device)
        labels = examples.labels[rows] if task.client.role == "source" else None
        return examples.inputs[rows], labels


class _Contest:
    """The losses of one client's turn, as the server asks for them."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        check_split(model, "adversarial")
        self._model = model
        self._sent = task.broadcast
        self._said = task.broadcast.settings
        self._at_source = task.client.role == "source"
        ratios = task.broadcast.extras.get("ratios", {})
        self._of_class, self._of_domain = ratios.get("class"), ratios.get("domain")

    def learnable(self) -> Weights:
        """Return the discriminator's weights as leaves that collect gradients."""
        sent = self._sent.extras["adversary"]
        return {name: value.detach().clone().requires_grad_() for name, value in sent.items()}

    def seen(self, inputs: Tensor, frozen: bool = False) -> tuple[Tensor, Tensor]:
        """Return features `(n, width)` and logits `(n, classes)`."""
        with torch.set_grad_enabled(not frozen):
            features: Tensor = self._model.features(inputs)  # type: ignore[operator]  # checked
            logits: Tensor = self._model.head(features)  # type: ignore[operator]
        return features, logits

    def loss(self, psi: Weights, inputs: Tensor, labels: Tensor | None) -> Tensor:
        """Return the classification loss of a source plus the domain's loss, reversed."""
        features, logits = self.seen(inputs)
        total = logits.new_zeros(())
        if labels is not None:
            each = F.cross_entropy(logits, labels, reduction="none")
            if self._of_class is not None:
                each = each * self._of_class.to(each.dtype)[labels]
            total = total + each.mean()
        hidden = reverse(features, float(self._said["reversal"]))
        return total + float(self._said["trade-off"]) * self.domain_loss(
            psi, hidden, logits, labels
        )

    def domain_loss(
        self, psi: Weights, features: Tensor, logits: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return half the domain's mean loss, weighted as the server says."""
        soft = logits.softmax(dim=1).detach()
        judged = product(soft, features) if self._said["conditional"] else features
        logit = verdict(psi, judged, float(self._said["dropout"]))
        each = domain_losses(logit, self._at_source)
        if labels is not None and self._of_domain is not None:
            each = each * self._of_domain.to(each.dtype)[labels]
        if not self._said["entropy"]:
            return each.mean() / 2
        sure = certainty(soft)
        return (sure / sure.sum() * each).sum() / 2
