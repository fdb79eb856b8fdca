"""What DANN, CDAN and their reweighted forms share on the server: the discriminator's steps.

References:
    Shen, Du, Zhao, Chen, Zhang, Gao, Wang, "FedMM: Saddle Point Optimization for Federated
    Adversarial Domain Adaptation", arXiv:2110.08477, for ``form: fedmm``, by its code.
    Peng, Huang, Zhu, Saenko, "Federated Adversarial Domain Adaptation", ICLR 2020,
    arXiv:1911.02054, for the idea of ``form: features``, without its attention and disentangling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Lt

from fedsim.adapt.adversarial_messages import (
    Discriminator,
    DiscriminatorReply,
    FeatureRows,
    MeanCertainty,
)
from fedsim.adapt.adversary import domain_logit, domain_losses, first_weights, ramp
from fedsim.errors import RunError
from fedsim.seeds import seeded_layers
from fedsim.strategies._domains import (
    OfDomains,
    added,
    averaged,
    by_role,
    check_roles,
    classifier_shape,
)
from fedsim.strategy import Server, ServerState
from fedsim.wire import Addend, Broadcast, ClientInfo, Merged, Update, Weights

__all__ = ["AdversarialStrategy"]

FIRST = "adversary.0.weight"
RUN_AWAY = 1e6
PHASES = {"exact": ("gradient",), "fedmm": ("primal_dual",), "features": ("embed", "train")}


@dataclass(frozen=True)
class AdversarialStrategy(OfDomains):
    """The model moves by the sum of the domains' mean updates, the discriminator by gradients."""

    form: Literal["two_phase", "exact", "fedmm", "features"] = "two_phase"
    """`two_phase`: discriminator steps with the model frozen, then local training with the
    discriminator frozen; `exact`: one common gradient step a round, as on one machine; `fedmm`:
    both move locally, held together by dual variables; `features`: the server trains the
    discriminator on noisy features, a baseline."""
    adversary_steps: Annotated[int, Ge(1)] = 5
    """The discriminator's steps in a round: of `two_phase` each an exchange with all domains, of
    `features` all on the server."""
    adversary_lr: Annotated[float, Gt(0)] = 0.05
    """Step size of the discriminator."""
    adversary_momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    """Momentum of the discriminator's steps, from round to round."""
    hidden: Annotated[int, Ge(1)] = 128
    """Width of the discriminator's two hidden layers; the papers' code takes 500 for digits."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.5
    """Dropout probability in the discriminator."""
    trade_off: Annotated[float, Ge(0)] = 1.0
    """Weight of the domains' loss beside the classification loss."""
    warm_up: Annotated[int, Ge(0)] = 5
    """Rounds before features begin to deceive the discriminator."""
    ramp_rounds: Annotated[int, Ge(1)] = 40
    """Rounds in which they come to do so with full strength."""
    server_lr: Annotated[float, Gt(0)] = 0.05
    """With `form: exact`: the server's step size for the model."""
    server_momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    """With `form: exact`: momentum of the server's steps."""
    penalty: Annotated[float, Gt(0)] = 1.0
    """With `form: fedmm`: how strongly a client's model and discriminator are pulled to what was
    sent."""
    penalty_growth: Annotated[float, Ge(1)] = 1.02
    """With `form: fedmm`: duals count less in what is sent, by this factor every hundred rounds."""
    normalize_features: bool = False
    """The discriminator sees features of unit length, so that longer ones deceive nobody."""
    domain_loss_cap: Annotated[float, Gt(0)] | None = None
    """Domain loss, in nats, above which an example no longer pushes its features: it deceives the
    discriminator enough.  A guessing discriminator has 0.69; 1.4, twice that, keeps features from
    running away from one that stands still while clients train.  Not in the papers."""
    client: ClassVar[str] = "adversarial"
    is_conditional: ClassVar[bool] = False
    """Whether the discriminator sees the product of predictions and features."""

    def phases(self) -> Sequence[str]:
        """Return the exchanges that the form takes."""
        return PHASES.get(self.form, (*["adversary"] * self.adversary_steps, "train"))

    def begin(self, weights: Weights, clients: Sequence[ClientInfo]) -> ServerState:
        """Start with a fresh discriminator of the model's features.

        Raises:
            RunError: if there is no target or no source, or the model has no ``head`` to tell
                the width of its features; or rows without labels would need weights.
        """
        if self.form == "features" and (self.is_entropic or "gls" in self.phases()):
            raise RunError(
                f"{type(self).__name__}: form: features sends rows without labels and predictions, "
                "so they cannot be weighted: take dann, or cdan without entropy, or another form"
            )
        check_roles(clients, type(self).__name__)
        classes, width = classifier_shape(weights, type(self).__name__)
        judged = width * classes if self.is_conditional else width
        adversary = first_weights(judged, self.hidden, weights["head.weight"])
        resting = {name: torch.zeros_like(value) for name, value in adversary.items()}
        memory = {"adversary": adversary, "velocity": resting}
        if self.form == "exact":
            memory["momentum"] = {name: torch.zeros_like(x) for name, x in weights.items()}
        return ServerState(weights, len(clients), memory).noting(turn=0)

    @property
    def is_entropic(self) -> bool:
        """Whether examples count by how certain their prediction is."""
        return False

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send the model, the discriminator, and how strongly to deceive it."""
        terms = Discriminator(
            adversary=state.memory["adversary"],
            conditional=self.is_conditional,
            entropy=self.is_entropic,
            reversal=ramp((state.round - self.warm_up) / self.ramp_rounds),
            trade_off=self.trade_off,
            dropout=self.dropout,
            turn=_turn(state),
            unit=self.normalize_features,
            blurred=self.form == "features",
            domain_loss_cap=self.domain_loss_cap,
        )
        if self.form == "fedmm":
            now = self.penalty * self.penalty_growth ** (state.round / 100)
            terms = replace(terms, penalty=self.penalty, penalty_now=now)
        return terms.to_broadcast(state.weights)

    def addends(self, update: Update, client: ClientInfo) -> Mapping[str, Addend]:
        """Add what a client sends to its role's sums; rows of features stay apart.

        Raises:
            RunError: if features have run away from the discriminator.
        """
        reply = DiscriminatorReply.from_update(update, self.client)
        if reply.rows:
            return {f"rows.{client.role}.{update.client}": Addend(reply.rows, 1.0)}
        _check_tame(reply.adversary or {})
        parts = by_role(update, client, adversary=reply.adversary, deceit=reply.deceit)
        if reply.certainty:
            weight = update.examples * float(MeanCertainty.from_weights(reply.certainty).mean)
            for name in parts:
                if not name.startswith("delta."):
                    parts[name] = replace(parts[name], weight=weight)
        return parts

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Move the discriminator along the roles' gradients, or the model by their deltas."""
        if state.phase == "train":
            return state.moved(added(merged, "delta")).noting(turn=0)
        if state.phase == "primal_dual":
            psi = state.memory["adversary"]
            psi_new = {
                n: (psi[n] + x).to(psi[n].dtype) for n, x in averaged(merged, "adversary").items()
            }
            return state.moved(averaged(merged, "delta"), adversary=psi | psi_new)
        if state.phase == "embed":
            return self._taught(state, merged, server)
        if state.phase == "gradient":
            slope, deceit = added(merged, "delta"), added(merged, "deceit")
            state = self._model_step(state, {n: x + deceit.get(n, 0) for n, x in slope.items()})
        state = self._adversary_step(state, added(merged, "adversary"))
        return state.noting(turn=_turn(state) + 1) if state.phase == "adversary" else state

    def _adversary_step(self, state: ServerState, gradient: Weights) -> ServerState:
        """Return the state after one step of the discriminator."""
        old, psi = state.memory["velocity"], state.memory["adversary"]
        velocity = {
            name: (self.adversary_momentum * old[name] + slope).to(old[name].dtype)
            for name, slope in gradient.items()
        }
        psi_new = {name: psi[name] - self.adversary_lr * value for name, value in velocity.items()}
        memory = {"adversary": psi | psi_new, "velocity": old | velocity}
        return replace(state, memory={**state.memory, **memory})

    def _taught(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Return the state after the discriminator's steps on the rows that clients sent."""
        rows = {
            role: [
                FeatureRows.from_weights(merged.total(name)).rows
                for name in merged.means
                if name.startswith(start)
            ]
            for role, start in (("source", "rows.source."), ("target", "rows.target."))
        }
        for _ in range(self.adversary_steps):
            psi = {n: x.clone().requires_grad_() for n, x in state.memory["adversary"].items()}
            loss = torch.zeros(())
            with seeded_layers(server.generator, torch.device("cpu")):
                for role, parts in rows.items():
                    if parts:
                        logits = domain_logit(
                            psi, torch.cat(parts).to(psi[FIRST].dtype), self.dropout
                        )
                        loss = loss + domain_losses(logits, role == "source").mean() / 2
            if loss.requires_grad:
                slopes = torch.autograd.grad(loss, list(psi.values()))
                state = self._adversary_step(state, dict(zip(psi, slopes, strict=True)))
        return state

    def _model_step(self, state: ServerState, slope: Weights) -> ServerState:
        """Return the state after one step of ``exact``; ``slope`` is the gradient with a minus."""
        old = state.memory["momentum"]
        momentum = {
            name: (self.server_momentum * old[name] + value).to(old[name].dtype)
            for name, value in slope.items()
        }
        delta = {name: self.server_lr * value for name, value in momentum.items()}
        return state.moved(delta, momentum=old | momentum)


def _check_tame(moves: Weights) -> None:
    steepest = max((float(move.abs().max()) for move in moves.values()), default=0.0)
    if not steepest < RUN_AWAY:
        raise RunError(
            f"the discriminator's gradient has come to {steepest:.0e}: features have run away from "
            "it; strategy.domain_loss_cap: 1.4 holds them, or a smaller trade_off"
        )


def _turn(state: ServerState) -> int:
    """Return how often the discriminator has moved in this round."""
    return int(state.number("turn"))
