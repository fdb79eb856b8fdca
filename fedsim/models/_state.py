"""What a model's state is made of, and which part of it server and clients exchange.

===========  ==========================================================  =======================
kind         what it is                                                  what happens to it
===========  ==========================================================  =======================
trained      a parameter with ``requires_grad``                          exchanged, averaged
buffer       a floating-point buffer that a training pass moves          exchanged, averaged
frozen       a parameter without ``requires_grad``                       stays as it was built
constant     a floating-point buffer that a training pass leaves alone   stays as it was built
counter      a buffer of another type: a count, a mask                   starts anew every turn
tied         a second name of a parameter or buffer                      goes by its first name
===========  ==========================================================  =======================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fedsim.wire import Weights

__all__ = [
    "StateEntry",
    "constant_names",
    "described_state",
    "exchanged_names",
    "inventory",
    "is_same",
    "load_weights",
    "mark_exchanged",
    "unique_state",
    "weights_of",
]

_EXCHANGED = "fedsim_exchanged_names"
"""Attribute of a built model: the names that are exchanged, settled before anything is trained."""

Kind = Literal["trained", "buffer", "frozen", "constant", "counter", "tied"]


@dataclass(frozen=True)
class StateEntry:
    """One name of a model's state."""

    name: str
    kind: Kind
    numbers: int
    """How many it holds."""
    tied_to: str = ""
    """The name that stands for it, where it is tied."""


def unique_state(model: nn.Module) -> Weights:
    """Return the model's parameters and persistent buffers, each by its first name.

    They are its own, not copies, in the order of ``state_dict``.
    """
    first: dict[int, str] = {}
    tensors = {n: t for n, t in model.state_dict(keep_vars=True).items() if isinstance(t, Tensor)}
    return {n: t for n, t in tensors.items() if first.setdefault(id(t), n) == n}


def mark_exchanged(model: nn.Module, constant: frozenset[str] = frozenset()) -> None:
    """Settle which names of ``model`` are exchanged, whatever is frozen later.

    Args:
        model: as it will be trained.
        constant: buffers that training leaves alone.
    """
    setattr(model, _EXCHANGED, tuple(_exchanged(model, constant)))


def exchanged_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of what server and clients exchange of ``model``."""
    names: tuple[str, ...] | None = getattr(model, _EXCHANGED, None)
    return tuple(_exchanged(model, frozenset())) if names is None else names


def constant_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of its floating-point buffers that training leaves alone."""
    return tuple(entry.name for entry in inventory(model) if entry.kind == "constant")


def is_same(after: Tensor, before: Tensor) -> bool:
    """Return whether two tensors of one shape hold the same numbers, none and infinite ones too."""
    return torch.equal(after.detach().nan_to_num(), before.detach().nan_to_num())


def inventory(model: nn.Module) -> list[StateEntry]:
    """Return all names of the model's state, each with what becomes of it."""
    exchanged, first = set(exchanged_names(model)), dict[int, str]()
    entries = []
    for name, tensor in model.state_dict(keep_vars=True).items():
        tied_to = first.setdefault(id(tensor), name)
        if tied_to != name:
            entries.append(StateEntry(name, "tied", tensor.numel(), tied_to))
        else:
            entries.append(StateEntry(name, _kind(tensor, name in exchanged), tensor.numel()))
    return entries


def described_state(model: nn.Module) -> str:
    """Return what the model's state is made of, in one line for people."""
    entries = inventory(model)
    numbers = {kind: 0 for kind in ("trained", "frozen", "buffer", "constant", "counter")}
    for entry in entries:
        if entry.kind in numbers:
            numbers[entry.kind] += entry.numbers
    parts = [f"{numbers['trained']:,} trained parameters"]
    words = {
        "frozen": "{:,} frozen, never sent",
        "buffer": "{:,} numbers of buffers, averaged",
        "constant": "{:,} numbers of constant buffers, never sent",
    }
    parts += [text.format(numbers[kind]) for kind, text in words.items() if numbers[kind]]
    parts += [f"{e.name} is {e.tied_to}, sent once" for e in entries if e.kind == "tied"]
    return "; ".join(parts)


def weights_of(model: nn.Module) -> Weights:
    """Return copies, on the CPU, of what is exchanged of ``model``."""
    return {name: value.cpu().clone() for name, value in _slots(model).items()}


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Copy ``weights`` into ``model``: all that is exchanged, and what else a server changed.

    Raises:
        ValueError: if the names or the shapes are not those of ``model``.
    """
    slots, state = _slots(model), unique_state(model)
    if not slots.keys() <= weights.keys() <= state.keys():
        wrong = (slots.keys() - weights.keys()) | (weights.keys() - state.keys())
        raise ValueError(f"not this model's weights: {sorted(wrong)}")
    for name in weights:
        value = state[name].detach()
        if value.shape != weights[name].shape:  # copy_ would broadcast
            raise ValueError(f"{name}: {tuple(weights[name].shape)}, not {tuple(value.shape)}")
        value.copy_(weights[name])


def _kind(tensor: Tensor, is_exchanged: bool) -> Kind:
    if isinstance(tensor, nn.Parameter):
        return "trained" if is_exchanged else "frozen"
    if not tensor.is_floating_point():
        return "counter"
    return "buffer" if is_exchanged else "constant"


def _slots(model: nn.Module) -> Weights:
    # Detached, they share the module's memory.
    state = unique_state(model)
    return {name: state[name].detach() for name in exchanged_names(model)}


def _exchanged(model: nn.Module, constant: frozenset[str]) -> list[str]:
    def is_exchanged(name: str, tensor: Tensor) -> bool:
        if isinstance(tensor, nn.Parameter):
            return tensor.requires_grad
        return tensor.is_floating_point() and name not in constant

    return [name for name, tensor in unique_state(model).items() if is_exchanged(name, tensor)]
