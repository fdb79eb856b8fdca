"""What DANN, CDAN and their reweighted forms share on the server: the discriminator's steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Lt

from fedsim.adapt.adversary import first_weights, ramp
from fedsim.clients._places import place_of, split
from fedsim.strategies._domains import added, check_roles, classifier_shape
from fedsim.strategies._extras import extra
from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import Addend, Broadcast, ClientInfo, Merged, Setting, Update, Weights

__all__ = ["Adversarial"]


@dataclass(frozen=True)
class Adversarial(Strategy):
    """The model moves by the sum of the domains' mean updates, the discriminator by gradients."""

    form: Literal["two_phase", "exact"] = "two_phase"
    """`two_phase`: discriminator steps with the model frozen, then local training with the
    discriminator frozen; `exact`: one common gradient step a round, as on one machine."""
    adversary_steps: Annotated[int, Ge(1)] = 5
    """Of `two_phase`: the discriminator's steps in a round, each one exchange with all domains."""
    adversary_lr: Annotated[float, Gt(0)] = 0.05
    """Step size of the discriminator."""
    adversary_momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    """Of the discriminator's steps, from round to round."""
    hidden: Annotated[int, Ge(1)] = 128
    """Width of the discriminator's two hidden layers; the papers' code takes 500 for digits."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.5
    """In the discriminator."""
    trade_off: Annotated[float, Ge(0)] = 1.0
    """What the domains' loss counts beside the classification loss."""
    warm_up: Annotated[int, Ge(0)] = 5
    """Rounds before features begin to deceive the discriminator."""
    ramp_rounds: Annotated[int, Ge(1)] = 40
    """Rounds in which they come to do so with full strength."""
    server_lr: Annotated[float, Gt(0)] = 0.05
    """Of `exact`: step size of the model."""
    server_momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    """Of `exact`: momentum of the model's steps."""
    client: ClassVar[str] = "adversarial"

    def phases(self) -> Sequence[str]:
        """Return the discriminator's steps and the model's, or the one step of both."""
        if self.form == "exact":
            return ("gradient",)
        return (*["adversary"] * self.adversary_steps, "train")

    def asks(self, phase: str, client: ClientInfo) -> bool:
        """Ask everyone: every domain has a share in every phase."""
        return True

    def begin(self, weights: Weights, clients: Sequence[ClientInfo]) -> ServerState:
        """Start with a fresh discriminator of the model's features.

        Raises:
            RunError: if there is no target or no source, or the model has no ``head`` to tell
                the width of its features.
        """
        check_roles(clients, type(self).__name__)
        classes, width = classifier_shape(weights, type(self).__name__)
        judged = width * classes if self.how()["conditional"] else width
        adversary = first_weights(judged, self.hidden, weights["head.weight"])
        resting = {name: torch.zeros_like(value) for name, value in adversary.items()}
        memory = {"adversary": adversary, "velocity": resting, "clock": _clock(0)}
        if self.form == "exact":
            memory["momentum"] = {name: torch.zeros_like(x) for name, x in weights.items()}
        return ServerState(weights, len(clients), memory)

    def how(self) -> Mapping[str, Setting]:
        """Return what the discriminator sees: ``conditional``, and ``entropy`` weights or not."""
        return {"conditional": False, "entropy": False}

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send the model, the discriminator, and how strongly to deceive it."""
        settings: dict[str, Setting] = {
            **self.how(),
            "reversal": ramp((state.round - self.warm_up) / self.ramp_rounds),
            "trade-off": self.trade_off,
            "dropout": self.dropout,
            "turn": int(state.memory["clock"]["turn"]),
        }
        return Broadcast(state.weights, {"adversary": state.memory["adversary"]}, settings)

    def addends(self, update: Update) -> Mapping[str, Addend]:
        """Add what a client sends to its role's sums; each role has a mean of its own."""
        role, _ = split(place_of(update, sender=self.client))
        if not update.examples:
            return {}
        parts = {}
        if update.delta:
            parts[f"delta.{role}"] = Addend(update.delta, update.examples)
        if "adversary" in update.extras:
            gradient = extra(update, "adversary", sender=self.client)
            parts[f"adversary.{role}"] = Addend(gradient, update.examples)
        return parts

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Move the discriminator along the roles' gradients, or the model by their deltas."""
        if state.phase == "train":
            return replace(state.moved(added(merged, "delta")), memory=self._rewound(state))
        if state.phase == "gradient":
            state = self._model_step(state, added(merged, "delta"))
        gradient = added(merged, "adversary")
        old, psi = state.memory["velocity"], state.memory["adversary"]
        velocity = {
            name: (self.adversary_momentum * old[name] + slope).to(old[name].dtype)
            for name, slope in gradient.items()
        }
        moved = {name: psi[name] - self.adversary_lr * value for name, value in velocity.items()}
        turn = _clock(int(state.memory["clock"]["turn"]) + (state.phase == "adversary"))
        memory = {"adversary": psi | moved, "velocity": old | velocity, "clock": turn}
        return replace(state, memory={**state.memory, **memory})

    def _model_step(self, state: ServerState, slope: Weights) -> ServerState:
        """Return the state after one step of ``exact``; ``slope`` is the gradient with a minus."""
        kept = state.memory["momentum"]
        momentum = {
            name: (self.server_momentum * kept[name] + value).to(kept[name].dtype)
            for name, value in slope.items()
        }
        delta = {name: self.server_lr * value for name, value in momentum.items()}
        return state.moved(delta, momentum=kept | momentum)

    def _rewound(self, state: ServerState) -> Mapping[str, Weights]:
        return {**state.memory, "clock": _clock(0)}


def _clock(turn: int) -> Weights:
    return {"turn": torch.tensor(turn)}
