"""What a client does after each epoch to stop in time: judges itself, and keeps its best weights.

References:
    Prechelt, "Early Stopping - But When?", in: Neural Networks: Tricks of the Trade, LNCS 1524,
    1998.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from fedsim.client import Examples
from fedsim.optimizers.stepping import Stepping
from fedsim.optimizers.stop_rule import StopRule
from fedsim.wire import Weights

__all__ = ["EpochWatch", "mean_loss"]

_BATCH = 512


class EpochWatch:
    """One turn's epochs, judged on the client's validation part."""

    def __init__(self, rule: StopRule, model: nn.Module, validation: Examples) -> None:
        """Begin, before the first epoch.

        Args:
            rule: when the turn ends.
            model: that is trained.
            validation: the client's, not empty, on the model's device.
        """
        self._rule, self._model, self._validation = rule, model, validation
        self._losses: list[float] = []
        self._lowest, self._steps, self._best = math.inf, 0, Weights()

    @classmethod
    def of(cls, rule: StopRule | None, model: nn.Module, examples: Examples) -> EpochWatch | None:
        """Return what watches a turn; None where no rule asks, or there is nothing to judge by."""
        if rule is None or not isinstance(examples, Examples):  # Of a target: its loss refuses.
            return None
        validation = examples.validation
        if validation is None or not len(validation):
            return None
        return cls(rule, model, validation.to(examples.inputs.device))

    def ends(self, taken: int) -> bool:
        """Judge the model after an epoch, and return whether the turn ends here.

        Args:
            taken: steps of the turn so far.
        """
        loss = mean_loss(self._model, self._validation)
        self._losses.append(loss)
        if loss < self._lowest or not self._best:  # The first of equals; a first NaN is a start.
            self._lowest = math.inf if math.isnan(loss) else loss
            self._steps = taken
            self._best = {k: value.clone() for k, value in self._model.state_dict().items()}
        return self._rule.is_over(self._losses)

    def restore(self, stepping: Stepping) -> None:
        """Put the best epoch's weights back, and let ``stepping`` count the steps to them.

        Where no epoch was judged, because the turn has less than one, everything stays.
        """
        if not self._best:
            return
        if self._steps != stepping.taken:
            with torch.no_grad():
                for name, value in self._model.state_dict().items():
                    value.copy_(self._best[name])
        stepping.taken = self._steps


def mean_loss(model: nn.Module, examples: Examples) -> float:
    """Return the mean loss over all of ``examples``, in evaluation mode."""
    was_training = model.training
    model.eval()
    losses = units = 0.0
    rows = torch.arange(len(examples), device=examples.inputs.device)
    with torch.no_grad():
        for batch in torch.split(rows, _BATCH):
            loss, count = examples.loss_sums(model, batch)
            losses, units = losses + float(loss), units + float(count)
    model.train(was_training)
    return losses / max(units, 1e-30)
