"""A client's synthetic set: whether it can be trained on, and as one table."""

from __future__ import annotations

import torch

from fedsim.condense.pixel_coding import decoded
from fedsim.strategy import ReplySpec, required_extra
from fedsim.wire import Update, Weights

__all__ = ["fault_of", "misshapen", "table_of"]


def fault_of(synthetic: Weights, wanted: ReplySpec) -> str:
    """Return why a set cannot be trained on; empty if it can, as one without an image can.

    Args:
        synthetic: as it came, of numbers that are finite.
        wanted: the shape of an image, how many classes there are, and images of each at most.
    """
    if fault := misshapen(synthetic):
        return fault
    images, labels = decoded(synthetic), synthetic["labels"].long()
    if tuple(images.shape[1:]) != wanted.shape:
        return f"images of shape {tuple(images.shape[1:])}, where {wanted.shape} was expected"
    if not bool(images.isfinite().all()):
        return "images that are not finite when they are decoded"
    unknown = labels[(labels < 0) | (labels >= wanted.classes)]
    if len(unknown):
        return f"the label {int(unknown[0])}, where there are {wanted.classes} classes"
    if "weight" in synthetic and bool((synthetic["weight"] <= 0).any()):
        return "a weight that is not above zero"
    most, counts = wanted.local.get("images_per_class"), torch.bincount(labels)
    if most is not None and len(counts) and int(counts.max()) > most:
        what = f"{int(counts.max())} images of class {int(counts.argmax())}"
        return f"{what}, where images_per_class allows {most}"
    return ""


def misshapen(synthetic: Weights) -> str:
    """Return why ``synthetic`` is no table of images; empty if it is one."""
    if missing := sorted({"images", "labels"} - synthetic.keys()):
        return f"its synthetic set lacks {', '.join(missing)}"
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
        sender: the client half that makes such sets.

    Raises:
        RunError: if it sent none.
    """
    synthetic = required_extra(update, "synthetic", sender)
    labels = synthetic["labels"].long()
    weight = synthetic.get("weight", torch.ones(len(labels)))
    client = torch.full_like(labels, update.client)
    return {"images": decoded(synthetic), "labels": labels, "weight": weight, "client": client}
