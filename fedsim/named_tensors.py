"""Inputs that are several tensors: by name, and indexed by example as one tensor is."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["NamedShapes", "NamedTensors"]


class NamedTensors:
    """Tensors with a row for each example; a model is called with them as ``model(**inputs)``.

    It is no Mapping: its length is the number of examples, and rows index all tensors alike.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        """Keep the tensors, ``(n, ...)`` each, at least one."""
        self._tensors = dict(tensors)

    def keys(self) -> KeysView[str]:
        """Return the names, in the order of the data."""
        return self._tensors.keys()

    def items(self) -> ItemsView[str, Tensor]:
        """Return names and tensors."""
        return self._tensors.items()

    @overload
    def __getitem__(self, which: str) -> Tensor: ...
    @overload
    def __getitem__(self, which: Tensor | slice) -> NamedTensors: ...
    def __getitem__(self, which: Any) -> Tensor | NamedTensors:
        """Return the tensor of a name, or the examples at some rows."""
        if isinstance(which, str):
            return self._tensors[which]
        return NamedTensors({name: tensor[which] for name, tensor in self._tensors.items()})

    def __len__(self) -> int:
        return len(next(iter(self._tensors.values())))

    def to(self, device: torch.device) -> NamedTensors:
        """Return the tensors on ``device``."""
        return NamedTensors({name: tensor.to(device) for name, tensor in self._tensors.items()})

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return next(iter(self._tensors.values())).device

    @property
    def nbytes(self) -> int:
        """How many bytes they take."""
        return sum(tensor.nbytes for tensor in self._tensors.values())


@dataclass(frozen=True)
class NamedShapes(Mapping[str, tuple[int, ...]]):
    """The shape of one example, by the name of the input: what a model is built for."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    """As NumPy names them; what is no integer reaches a model as float32."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """How many numbers an embedding of an input of integers needs: one more than the largest."""

    def __getitem__(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __str__(self) -> str:
        return ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())

    def zeros(self, examples: int, device: torch.device | str = "cpu") -> NamedTensors:
        """Return so many examples of zeros."""
        import torch

        kinds = {
            name: torch.int64 if dtype == "int64" else torch.float32
            for name, dtype in self.dtypes.items()
        }
        return NamedTensors(
            {
                name: torch.zeros(examples, *shape, dtype=kinds[name], device=device)
                for name, shape in self.shapes.items()
            }
        )
