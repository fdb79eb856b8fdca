"""A small LSTM over tokens, which predicts the next one at every place."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from torch import Tensor, nn

__all__ = ["CharLstm"]


class CharLstm(nn.Module):
    """An embedding, LSTM layers and a linear layer to the vocabulary.

    References:
        McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-Efficient Learning of Deep
        Networks from Decentralized Data", AISTATS 2017, arXiv:1602.05629, section 3 (8-dimensional
        embeddings, two layers of 256 units).

    Args:
        shape: of one example: its tokens.
        classes: how many tokens there are.
        embedding: Numbers that stand for a token.
        hidden: Units of each LSTM layer.
        layers: How many LSTM layers there are.
    """

    takes: ClassVar[Literal["tokens"]] = "tokens"

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        embedding: Annotated[int, Ge(1)] = 8,
        hidden: Annotated[int, Ge(1)] = 256,
        layers: Annotated[int, Ge(1)] = 2,
    ) -> None:
        super().__init__()
        if len(shape) != 1:
            raise ValueError(f"char_lstm: an example has the shape {shape}, not (tokens,)")
        self.embedding = nn.Embedding(classes, embedding)
        self.lstm = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, `(n, tokens, classes)`, of inputs `(n, tokens)`."""
        states, _ = self.lstm(self.embedding(inputs))
        logits: Tensor = self.head(states)
        return logits
