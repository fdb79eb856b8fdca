"""A client's synthetic set: as it is sent, whether it can be trained on, and as one table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedsim.condense.pixel_coding import Coding, decoded, encoded
from fedsim.messages import Message
from fedsim.strategy import ReplySpec
from fedsim.wire import Update, Weights

__all__ = ["SyntheticSet", "SyntheticSetTerms", "fault_of", "misshapen", "sent_set", "table_of"]


@dataclass(frozen=True)
class SyntheticSetTerms(Message):
    """From FedDM to its clients."""

    weighting: str = "none"
    """``examples``: images come with how many real examples each stands for."""


@dataclass(frozen=True)
class SyntheticSet(Message):
    """From a client to FedDM."""

    synthetic: Weights
    """As :func:`sent_set` makes it."""


def sent_set(
    images: Tensor, labels: Tensor, coding: Coding, stands_for: Tensor, terms: SyntheticSetTerms
) -> SyntheticSet:
    """Return what a client sends: coded ``images``, their ``labels``, and a ``weight`` if asked.

    Args:
        images: `(n, *features)`, float32.
        labels: `(n,)`, int64; they travel as bytes where they fit.
        coding: of the pixels.
        stands_for: how many real examples each image stands for, `(n,)`.
        terms: what the server asks for.
    """
    synthetic = encoded(images, coding)
    synthetic["labels"] = labels.to(torch.uint8) if labels.lt(256).all() else labels
    if terms.weighting == "examples":
        synthetic["weight"] = stands_for
    return SyntheticSet(synthetic)


def fault_of(synthetic: Weights, spec: ReplySpec) -> str:
    """Return why a set cannot be trained on; empty if it can, as one without an image can.

    Args:
        synthetic: as it came, of numbers that are finite.
        spec: the shape of an image, how many classes there are, and images of each at most.
    """
    if fault := misshapen(synthetic):
        return fault
    images, labels = decoded(synthetic), synthetic["labels"].long()
    if tuple(images.shape[1:]) != spec.shape:
        return f"images of shape {tuple(images.shape[1:])}, where {spec.shape} was expected"
    if not bool(images.isfinite().all()):
        return "images that are not finite when they are decoded"
    unknown = labels[(labels < 0) | (labels >= spec.classes)]
    if len(unknown):
        return f"the label {int(unknown[0])}, where there are {spec.classes} classes"
    if "weight" in synthetic and bool((synthetic["weight"] <= 0).any()):
        return "a weight that is not above zero"
    most, counts = spec.local.get("images_per_class"), torch.bincount(labels)
    if most is not None and len(counts) and int(counts.max()) > most:
        what = f"{int(counts.max())} images of class {int(counts.argmax())}"
        return f"{what}, where images_per_class allows {most}"
    return ""


def misshapen(synthetic: Weights) -> str:
    """Return why ``synthetic`` is no table of images; empty if it is one."""
    if absent := sorted({"images", "labels"} - synthetic.keys()):
        return f"its synthetic set lacks {', '.join(absent)}"
    images, labels = synthetic["images"], synthetic["labels"]
    if not images.dim() or labels.is_floating_point():
        return "its synthetic set is no table of images and labels"
    if any(synthetic[name].dim() for name in ("low", "step") if name in synthetic):
        return "its images are coded by more than one range"
    columns = {name: synthetic[name] for name in ("labels", "weight") if name in synthetic}
    for name, column in columns.items():
        if tuple(column.shape) != (len(images),):
            return f"{len(images)} images, {name} of shape {tuple(column.shape)}"
    return ""


def table_of(update: Update, sender: str) -> Weights:
    """Return what one client sent, decoded: ``images``, ``labels``, ``weight`` and ``client``.

    Args:
        update: its synthetic set is a table.
        sender: the local update rule that makes such sets.

    Raises:
        RunError: if it sent none.
    """
    synthetic = SyntheticSet.from_update(update, sender).synthetic
    labels = synthetic["labels"].long()
    weight = synthetic.get("weight", torch.ones(len(labels)))
    client = torch.full_like(labels, update.client)
    return {"images": decoded(synthetic), "labels": labels, "weight": weight, "client": client}
