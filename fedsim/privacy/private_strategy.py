"""A strategy under client-level privacy: what its clients add is clipped where they ran.

A wrapper, so that a strategy knows nothing of privacy: its server step sees a noisy mean in the
place of the mean, and whatever it makes of that is post-processing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedsim.client import Client, Examples
from fedsim.privacy.mechanism import BELOW, CLIPPED, CentralGaussian, clipped, norm_of
from fedsim.privacy.noise import gaussian, grid, source_of
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import Addend, Broadcast, ClientInfo, Instruction, Merged, Setting, Update, Weights

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["NoisyClient", "PrivateStrategy", "refusal"]

CLIP, STEP, BITS = "privacy-clip", "privacy-step", "privacy-bits"
"""The settings that tell a worker the bound in force, the grid of the noise, and whether to say
whose norm was below the bound."""


def refusal(strategy: type[object], placement: str = "central") -> str:
    """Return why a strategy cannot be run under client-level privacy; empty if it can.

    Where the clients add the noise themselves, what the server does with it is its own affair.
    """
    name = strategy.__name__
    if not issubclass(strategy, Strategy):
        if placement == "local":
            return ""
        return (
            f"{name} is a stock Flower strategy: it aggregates by itself, and how far one "
            "client moves what it gives is not known"
        )
    if strategy.aggregate is not Strategy.aggregate and placement == "central":
        return (
            f"{name} aggregates by itself: how far one client moves what it gives is not "
            "bounded by clipping, so no noise can be scaled to it"
        )
    if strategy.addends is not Strategy.addends:
        return (
            f"{name} adds up more than plain updates (control variates, weights by work "
            "done): only updates are clipped and get noise"
        )
    if strategy.phases is not Strategy.phases:
        return f"{name} asks its clients more than once a round: only updates get noise"
    return ""


@dataclass(frozen=True)
class PrivateStrategy(Strategy):
    """``inner`` with clipped addends, each of weight one whatever the client holds."""

    inner: Strategy
    mechanism: CentralGaussian | None = None
    """What the server does; a worker has no need of it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be guarded, whoever puts it together."""
        if reason := refusal(type(self.inner)):
            raise ValueError(reason)

    def begin(self, weights: Weights, clients: Sequence[ClientInfo]) -> ServerState:
        """Return ``inner``'s state; how many examples a client holds it is not told."""
        return self.inner.begin(weights, [replace(info, examples=0) for info in clients])

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send what ``inner`` sends, and the bound in force."""
        inner_broadcast = self.inner.broadcast(state, replace(to, examples=0))
        clip, mechanism = self.bound(state), self.server_side
        settings: dict[str, Setting] = {CLIP: clip, STEP: mechanism.step(clip)}
        if mechanism.adaptive is not None:
            settings[BITS] = True
        return replace(inner_broadcast, settings={**inner_broadcast.settings, **settings})

    def bound(self, state: ServerState) -> float:
        """Return the bound in force."""
        return state.number(CLIP) if CLIP in state.plain else self.server_side.clip

    @property
    def server_side(self) -> CentralGaussian:
        """The mechanism, where there is one.

        Raises:
            ValueError: on a worker.
        """
        if self.mechanism is None:
            raise ValueError("only the server, which knows the claim, can do that")
        return self.mechanism

    def clipped(self, update: Update, settings: Mapping[str, Setting]) -> Mapping[str, Addend]:
        """Return what one client adds, cut to what the broadcast's ``settings`` say.

        Raises:
            ValueError: if the update is not finite.
        """
        import torch

        bound, step = float(settings[CLIP]), float(settings[STEP])
        parts = {CLIPPED: Addend(clipped(update.delta, bound, step), 1.0)}
        if settings.get(BITS):
            is_below = norm_of(update.delta) <= bound
            bit = torch.tensor(0.5 if is_below else -0.5, dtype=torch.float64)
            parts[BELOW] = Addend({BELOW: bit}, 1.0)
        return parts

    def addends(self, update: Update, client: ClientInfo) -> Mapping[str, Addend]:
        """Refuse: without the broadcast's settings the bound in force is not known."""
        raise ValueError("under privacy an update is clipped before it is added")

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Let ``inner`` move the weights; the bound follows where it is adaptive."""
        after = self.inner.step(state, merged, server)
        adaptive = self.server_side.adaptive
        if adaptive is None:
            return after
        below = float(merged.means[BELOW][BELOW])
        return after.noting(**{CLIP: adaptive.moved(self.bound(state), below)})

    def evaluate(self, state: ServerState) -> Weights:
        """Return the weights that ``inner`` would judge."""
        return self.inner.evaluate(state)


@dataclass(frozen=True)
class NoisyClient(Client):
    """A client that clips its update and adds the noise itself: the server sees nothing else."""

    rule: Client
    terms: PrivacyParameters

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return ``rule``'s update with noise; no metrics, and one example whatever it held."""
        update = self.rule.train(model, examples, instruction, generator)
        std = self.terms.clip * self.terms.noise_multiplier
        source = source_of(self.terms.rng, generator)
        cut = clipped(update.delta, self.terms.clip, grid(std))
        delta = {
            name: (cut[name] + gaussian(cut[name], std, source)).to(update.delta[name].dtype)
            for name in sorted(cut)
        }
        return Update(
            instruction.client.id, delta, min(1, instruction.client.examples), memory=update.memory
        )
