"""How much a local update rule that protects its records really gives away: canaries among them.

One client holds canary records, each in or out by a coin flip, on a model where every record
pulls in a direction of its own, harder than the clip allows.  The half takes its turns by its own
code; who sees its replies guesses which records were in.  What follows from the guesses is said
in :mod:`fedsim.privacy.audit`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedsim.client import Examples
from fedsim.privacy.audit import AuditResult, Scores, audit_result
from fedsim.privacy.parameters import PrivateRule
from fedsim.privacy.privacy_spec import PrivacySpec
from fedsim.seeds import numpy_stream, torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction, Update

__all__ = ["audit_records", "auditable"]


def auditable(half: object) -> str:
    """Return the phase of ``half`` that can be audited; empty if it has others, or none."""
    phases = half.protects if isinstance(half, PrivateRule) else ()
    return phases[0] if len(phases) == 1 and phases[0] in _SEEN else ""


def audit_records(claim: PrivacySpec, turns: int, canaries: int = 1000) -> AuditResult:
    """Return what canaries find out about the half of ``claim``.

    Args:
        claim: of record level, with a half that is :func:`auditable`.
        turns: of the client; all are seen.
        canaries: how many records there are.
    """
    return audit_result(claim, turns, lambda of: _scores(of, turns, canaries))


def _scores(claim: PrivacySpec, turns: int, canaries: int) -> Scores:
    """Return which canaries were in, and how much it looks as if, `(canaries,)` both."""
    seed, half = claim.crowd.seed, _swift(claim.half, canaries)
    is_in = numpy_stream(seed, "audit").random(canaries) < 0.5
    members = torch.from_numpy(np.flatnonzero(is_in))
    examples = Examples(LOUD * torch.eye(canaries)[members], torch.zeros(len(members)).long())
    phase, scores = auditable(half), np.zeros(canaries)
    for number in range(1, turns + 1):
        model = _Separation(canaries)
        broadcast = Broadcast({name: tensor.clone() for name, tensor in model.state_dict().items()})
        instruction = Instruction(number, phase, ClientInfo(0, len(members)), broadcast)
        verb = getattr(half.under(claim.terms), phase)
        update: Update = verb(model, examples, instruction, torch_stream(seed, "audit", number))
        scores += _SEEN[phase](update, canaries).double().numpy()
    return is_in, scores


LOUD = 1e9
"""The size of a canary: nothing else that a gradient is made of matters beside it."""


class _Separation(nn.Module):
    """A linear model, its weights zero, in which every input has weights of its own."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(inputs, 2, bias=False)
        nn.init.zeros_(self.head.weight)

    def features(self, inputs: Tensor) -> Tensor:
        return inputs

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(inputs)
        return logits


def _swift(half: Any, canaries: int) -> Any:
    """Return ``half`` with steps so small that weights stay where gradients are largest.

    And so large, on images, that what they begin as is of no account.  What is released, and how
    much noise is on it, none of this touches.
    """
    wished = {"lr": 1e-12, "image_lr": 10.0 * canaries, "radius": 0.0, "min_examples": 1}
    return replace(half, **{name: value for name, value in wished.items() if hasattr(half, name)})


def _from_weights(update: Update, canaries: int) -> Tensor:
    return update.delta["head.weight"][0] - update.delta["head.weight"][1]


def _from_images(update: Update, canaries: int) -> Tensor:
    synthetic = update.extras["synthetic"]
    mine = synthetic["images"][synthetic["labels"] == 0].float()
    return mine.mean(dim=0) if len(mine) else torch.zeros(canaries)


_SEEN: dict[str, Callable[[Update, int], Tensor]] = {"train": _from_weights, "match": _from_images}
"""Where a canary's pull is seen in the reply of each phase."""
