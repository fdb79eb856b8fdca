"""SGD against a domain discriminator, as DANN, CDAN and their reweighted forms ask of clients.

References:
    Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR 2016, arXiv:1505.07818.
    That each domain's share is computed where the domain is, is not of the paper.
    Shen, Du, Zhao, Chen, Zhang, Gao, Wang, "FedMM: Saddle Point Optimization for Federated
    Adversarial Domain Adaptation", arXiv:2110.08477, for ``primal_dual``.
    Peng, Huang, Zhu, Saenko, "Federated Adversarial Domain Adaptation", ICLR 2020,
    arXiv:1911.02054, for the exchange of features; their clipping and noise are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from fedsim.adapt.adversarial_loss import AdversarialLoss
from fedsim.adapt.adversarial_messages import Discriminator, DiscriminatorReply, FeatureRows
from fedsim.client import Examples
from fedsim.clients._adapting import Adapting, Objective, repeated, slopes
from fedsim.errors import RunError
from fedsim.optimizers.clipping import clip
from fedsim.privacy.noise import SimulatedNoise, noisy
from fedsim.seeds import seeded_layers
from fedsim.wire import Instruction, Update, Weights

__all__ = ["Adversarial"]


@dataclass(frozen=True)
class Adversarial(Adapting):
    """A source learns its labels, and every domain deceives the discriminator that it is sent."""

    feature_clip: Annotated[float, Gt(0)] | None = None
    """With `form: features`, which needs it: the length that features are clipped to."""
    feature_noise: Annotated[float, Gt(0)] | None = None
    """With `form: features`, which needs it: their noise's standard deviation, in clips."""

    def adversary(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return the discriminator's gradient on one batch of this domain; the model stays."""
        contest = AdversarialLoss(model, instruction)
        psi = contest.learnable()
        inputs, labels = self._batch(examples, instruction, generator)
        reply = DiscriminatorReply()
        if len(inputs):
            with seeded_layers(generator, inputs.device):
                features, logits = contest.seen(inputs, frozen=True)
                loss = contest.domain_loss(psi, features, logits, labels)
            gradient, weight = slopes(loss, psi), contest.certainty(logits)
            reply = DiscriminatorReply(adversary=gradient, certainty=weight)
        return Update(instruction.client.id, {}, len(examples), extras=reply.to_extras())

    def gradient(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return the objective's gradients on one batch, the model's with a minus.

        With ``entropy`` those of the domain's loss are apart, as ``deceit``: clients weigh
        otherwise in their mean.
        """
        contest = AdversarialLoss(model, instruction)
        inputs, labels = self._batch(examples, instruction, generator)
        if not len(inputs):
            return Update(instruction.client.id, {}, 0, extras=DiscriminatorReply().to_extras())
        psi = contest.learnable()
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        with seeded_layers(generator, inputs.device):
            features, logits = contest.seen(inputs)
            learned = contest.classification(logits, labels)
            deceit = contest.deceit(psi, features, logits, labels)
        certainty = contest.certainty(logits)
        loss = learned + deceit if certainty is None else deceit
        gradients = slopes(loss, {**trained, **psi}, again=True)
        slope = {name: -gradients[name] for name in trained}
        reply = DiscriminatorReply(adversary={name: gradients[name] for name in psi})
        if certainty is not None:
            reply = replace(reply, deceit=slope, certainty=certainty)
            slope = {name: -value for name, value in slopes(learned, trained).items()}
        return _reply(instruction, len(examples), slope, reply)

    def primal_dual(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return where model and discriminator went together, shifted by this client's duals.

        Each step is on the loss, plus ``<dual, v> + penalty / 2 ||v - v_sent||^2``; the duals,
        which never leave the client, then grow by ``penalty (v - v_sent)``.
        """
        contest, terms = (
            AdversarialLoss(model, instruction),
            Discriminator.from_broadcast(instruction.broadcast),
        )
        psi = contest.learnable()
        leaves = {n: p for n, p in model.named_parameters() if p.requires_grad} | psi
        values = {name: leaf.detach() for name, leaf in leaves.items()}
        anchor = {name: value.clone() for name, value in values.items()}
        dual = instruction.memory.get("dual") or {n: torch.zeros_like(x) for n, x in values.items()}
        pull = terms.penalty or 0.0
        stepping = self.of_role(instruction).stepping(instruction, len(examples))
        stepping.start(values)
        labels = examples.labels if instruction.client.role == "source" else None
        with seeded_layers(generator, examples.inputs.device):
            for batch in self._batches(len(examples), generator, examples.inputs.device):
                batch_labels = None if labels is None else labels[batch]
                gradients = slopes(contest.loss(psi, examples.inputs[batch], batch_labels), leaves)
                clip(gradients, self.max_norm)
                for name, slope in gradients.items():
                    slope.add_(dual[name]).add_(values[name] - anchor[name], alpha=pull)
                stepping.step(values, gradients)
        went = {name: value - anchor[name] for name, value in values.items()}
        dual = {name: old + pull * went[name] for name, old in dual.items()}
        shift = terms.penalty_now or pull
        went = {name: value + dual[name] / shift for name, value in went.items()}
        reply = DiscriminatorReply(adversary={name: went[name] for name in psi})
        update = _reply(instruction, len(examples), went, reply)
        remembered = stepping.kept() if self.state == "keep" else {}
        return replace(update, memory={"dual": dual, **remembered})

    def embed(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return what the discriminator would see of one batch: cut, with noise, without labels.

        Raises:
            RunError: if clip or noise is missing: features without them can be turned back into
                examples.
        """
        clip, noise = self._blur()
        contest = AdversarialLoss(model.eval(), instruction, clip)
        inputs, _ = self._batch(examples, instruction, generator)
        reply: Weights = {}
        if len(inputs):
            with torch.no_grad():
                rows = contest.judged(*contest.seen(inputs))
            blurred = noisy(rows, clip * noise, SimulatedNoise.of(generator)).to(rows.dtype)
            reply = FeatureRows(blurred).to_weights()
        extras = DiscriminatorReply(rows=reply).to_extras()
        return Update(instruction.client.id, {}, len(examples), extras=extras)

    def objective(self, model: nn.Module, instruction: Instruction) -> Objective:
        """Return the loss of a batch against the discriminator as it was sent."""
        terms = Discriminator.from_broadcast(instruction.broadcast)
        contest = AdversarialLoss(model, instruction, self._blur()[0] if terms.blurred else None)
        return lambda inputs, labels: contest.loss(terms.adversary, inputs, labels)

    def _blur(self) -> tuple[float, float]:
        if self.feature_clip is None or self.feature_noise is None:
            raise RunError(
                "form: features sends features of single examples, which can be turned back into "
                "them: it needs local.feature_clip and local.feature_noise, such as 1.0 and 1.0"
            )
        return self.feature_clip, self.feature_noise

    def _batch(
        self, examples: Examples, instruction: Instruction, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        turn = Discriminator.from_broadcast(instruction.broadcast).turn
        order = torch.randperm(len(examples), generator=repeated(generator, turn))
        rows = order[: self.batch_size].to(examples.inputs.device)
        labels = examples.labels[rows] if instruction.client.role == "source" else None
        return examples.inputs[rows], labels


def _reply(
    instruction: Instruction, examples: int, went: Weights, reply: DiscriminatorReply
) -> Update:
    """Return a move of the model, zero where ``went`` has none, beside ``reply``."""
    anchor = instruction.broadcast.weights
    delta = {name: went.get(name, torch.zeros_like(value)) for name, value in anchor.items()}
    return Update(instruction.client.id, delta, examples, extras=reply.to_extras())
