"""The section ``finetune`` of a scenario: weights to start from, and what is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, MinLen
from pydantic import Field, StringConstraints

from fedsim.schema.part import Section
from fedsim.schema.wording import Wording

__all__ = ["FineTune", "LowRank"]

Patterns = Annotated[tuple[str, ...], Field(strict=False)]
Digest = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Wording("64 hexadecimal digits")
]


class LowRank(Section):
    """Low-rank adapters (LoRA): a layer's weight W is trained as W + alpha / rank * B A."""

    rank: Annotated[int, Ge(1)] = 8
    """Rows of A and columns of B; no more than the smaller side of any adapted weight."""
    alpha: Annotated[float, Gt(0)] = 16.0
    """The adapter counts by this over the rank."""
    on: Annotated[Patterns, MinLen(1)] = ("*",)
    """Which linear, convolution and embedding layers get one: patterns of their names, such as
    body.* or *.attention.*; layers that `train` names are trained whole instead."""
    aggregate: Literal["mean", "ffa", "exact"] = "mean"
    """mean: A and B are averaged apart (FedIT), which is not the mean of the products; ffa: A
    stays as it was drawn (FFA-LoRA), and the mean is exact; exact: the server adds what is missing
    to W (FedEx-LoRA), for fedavg alone, at the price of whole updates and of sending W."""


class FineTune(Section):
    """The weights to start from, and which parts are trained; the rest never travels."""

    weights: str | None = None
    """What to start from: a run's folder, a .safetensors file, or a .pt or .pth file with a state
    dict; null: the seed draws them."""
    sha256: Digest | None = None
    """The hash of that file; by default what it is when the run begins."""
    rename: dict[str, str] = Field(default={})
    """Names in the file that are others in the model: {old: new}, or {old.*: new.*}."""
    allow: Patterns = ()
    """Patterns of names that may be missing there, superfluous, or of another shape: such a weight
    of the model is drawn from the seed, as a new head is."""
    train: Patterns = ()
    """Patterns of the parameters that are trained, such as head.*; all others are frozen."""
    freeze: Patterns = ()
    """Or patterns of those that are frozen; all others are trained."""
    lora: LowRank | None = None
    """Low-rank adapters; with them only they are trained, and what `train` names."""
    batch_norm: Literal["average", "frozen"] = "average"
    """Running statistics of batch norm: averaged like weights, or frozen, as is then the
    normalisation of the training steps."""
