"""Any optimiser of ``torch.optim`` behind the contract, for one client at a time."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Gt

from fedsim.errors import RunError
from fedsim.optimizers.optimizer import Optimizer, Slots
from fedsim.wire import Weights

if TYPE_CHECKING:
    import torch

__all__ = ["TorchOptimizer"]


@dataclass(frozen=True)
class TorchOptimizer(Optimizer):
    """A class of ``torch.optim``, such as ``NAdam``; its state lasts for one turn.

    Raises:
        ValueError: if there is no such optimiser, or its steps need more than gradients.
    """

    lr: Annotated[float, Gt(0)] = 0.001
    """The step size, before schedule and decay."""
    algorithm: str = "Adam"
    """The name of the class."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The arguments of the class, besides the step size."""
    stacks: ClassVar[bool] = False
    keeps: ClassVar[bool] = False

    @classmethod
    def of(cls, algorithm: str, arguments: Mapping[str, Any]) -> TorchOptimizer:
        """Return the class called ``algorithm`` with its arguments, ``lr`` among them."""
        options = {name: value for name, value in arguments.items() if name != "lr"}
        return cls(arguments.get("lr", cls.lr), algorithm, options)

    def __post_init__(self) -> None:
        """Build one on a number, so that what is wrong with the options is known now."""
        import torch

        cls = getattr(torch.optim, self.algorithm, None)
        if not inspect.isclass(cls) or not issubclass(cls, torch.optim.Optimizer):
            raise ValueError(f"torch.optim has no optimizer {self.algorithm}")
        if self.algorithm in ("LBFGS", "SparseAdam"):
            raise ValueError(f"{self.algorithm} needs more than a batch's gradients at each step")
        self._built([torch.zeros(1)])

    def slots(self, weights: Weights) -> Slots:
        """Return slots that hold the optimiser of torch itself, once it has met gradients."""
        return _TorchSlots()

    def step(
        self, weights: Weights, gradients: Weights, slots: Slots, lr: float, number: int
    ) -> None:
        """Move ``weights`` in place; see :meth:`Optimizer.step`.

        Raises:
            RunError: if ``slots`` come from elsewhere.
        """
        if not isinstance(slots, _TorchSlots):
            raise RunError(f"{self.algorithm} of torch keeps nothing from turn to turn")
        if slots.optimizer is None:
            slots.optimizer = self._built(list(weights.values()))
        for name, weight in weights.items():
            weight.grad = gradients.get(name)
        for group in slots.optimizer.param_groups:
            group["lr"] = lr
        slots.optimizer.step()
        for weight in weights.values():
            weight.grad = None

    def _built(self, weights: list[torch.Tensor]) -> torch.optim.Optimizer:
        import torch

        built: torch.optim.Optimizer = getattr(torch.optim, self.algorithm)(
            weights, lr=self.lr, **self.options
        )
        return built


class _TorchSlots(Slots):
    """Slots that are an object of torch; it lives as long as the turn."""

    optimizer: torch.optim.Optimizer | None = None
