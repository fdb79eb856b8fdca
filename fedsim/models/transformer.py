"""A small decoder-only transformer over tokens, which predicts the next one at every place."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Transformer"]


class Transformer(nn.Module):
    """Embeddings of tokens and places, blocks of causal attention, a linear layer at the end.

    A block's layers are called query, key, value, out, widen and narrow, as in ``blocks.0.query``:
    low-rank adapters go by these names.

    References:
        Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762, section 3, with
        the norm before each part (Xiong et al., ICML 2020, arXiv:2002.04745) and learnt places.

    Args:
        shape: of one example: its tokens.
        classes: how many tokens there are.
        width: Numbers that stand for a token; a multiple of heads.
        heads: Heads of each attention.
        layers: How many blocks there are.
    """

    takes: ClassVar[Literal["tokens"]] = "tokens"

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: Annotated[int, Ge(1)] = 64,
        heads: Annotated[int, Ge(1)] = 4,
        layers: Annotated[int, Ge(1)] = 2,
    ) -> None:
        super().__init__()
        if len(shape) != 1:
            raise ValueError(f"transformer: an example has the shape {shape}, not (tokens,)")
        if width % heads:
            raise ValueError(f"transformer: width {width} cannot be split into {heads} heads")
        self.embedding = nn.Embedding(classes, width)
        self.places = nn.Embedding(shape[0], width)
        for embedding in (self.embedding, self.places):
            nn.init.normal_(embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, `(n, tokens, classes)`, of inputs `(n, tokens)`."""
        places = torch.arange(inputs.shape[1], device=inputs.device)
        states = self.embedding(inputs) + self.places(places)
        for block in self.blocks:
            states = block(states)
        logits: Tensor = self.head(self.norm(states))
        return logits


class _Block(nn.Module):
    """Causal attention, then two linear layers, each beside a way round."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, states: Tensor) -> Tensor:
        # (n, tokens, width) -> (n, tokens, width)
        normed = self.first_norm(states)
        split = (len(states), -1, self.heads, states.shape[-1] // self.heads)
        query, key, value = (
            layer(normed).view(split).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = _causal(query, key) @ value
        states = states + self.out(mixed.transpose(1, 2).flatten(2))
        hidden = functional.gelu(self.widen(self.second_norm(states)))
        total: Tensor = states + self.narrow(hidden)
        return total


def _causal(query: Tensor, key: Tensor) -> Tensor:
    """Return how much each place heeds each one before it, `(n, heads, tokens, tokens)`.

    Written out: for torch's own product of attention there is no rule to stack clients by.
    """
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    tokens = scores.shape[-1]
    later = torch.ones(tokens, tokens, dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(later, -math.inf).softmax(dim=-1)
