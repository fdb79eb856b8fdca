"""Texts in windows of tokens: what all sources of text have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Lt

from fedsim.data.header import FieldSpec, Header
from fedsim.errors import DataError

if TYPE_CHECKING:
    from fedsim.data.dataset import Array, Dataset

__all__ = ["TextWindows"]


@dataclass(frozen=True, kw_only=True)
class TextWindows:
    """Each client's text in windows of ``length`` tokens; a target is the token that comes next.

    A last window that is not full is filled up with a token of its own, and has no targets there.
    """

    length: Annotated[int, Ge(1)] = 80
    """Tokens of a window."""
    stride: Annotated[int, Ge(1)] | None = None
    """How many tokens apart windows begin; null: the length."""
    unit: Literal["char", "byte", "word"] = "char"
    """What a token is; words are what white space separates."""
    min_tokens: Annotated[int, Ge(2)] = 2
    """Clients with fewer tokens than this are left out."""
    most_words: Annotated[int, Ge(1)] = 10_000
    """The most frequent words that get tokens of their own; the others share one."""
    test_share: Annotated[float, Ge(0), Lt(1)] = 0.2
    """The last part of each client's text that is the test split."""
    task: ClassVar[str] = "next_token"

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the windows.

        The vocabulary is built of the training parts of all clients' texts together: with real
        clients it would have to be agreed on beforehand, which a note says.

        Raises:
            DataError: if there is no text, or no client has enough of it.
        """
        import numpy as np

        from fedsim.data.dataset import Dataset

        texts = {
            n: tokens for n, tokens in self._tokenized(folder) if len(tokens) >= self.min_tokens
        }
        if not texts:
            raise DataError(f"no client has {self.min_tokens} tokens")
        cuts = {name: len(t) - round(self.test_share * len(t)) for name, t in texts.items()}
        known = _vocabulary([t[: cuts[name]] for name, t in texts.items()], self._most)
        size = len(known) + 2  # unknown, and what fills windows up
        parts = [
            [self._windows(_numbered(part, known), size - 1) for part in (t[:cut], t[cut:])]
            for (t, cut) in ((texts[name], cuts[name]) for name in texts)
        ]
        inputs, labels = (np.concatenate([train[k] for train, _ in parts]) for k in (0, 1))
        tests = [test for _, test in parts if len(test[0])]
        test_inputs, test_labels = (
            (np.concatenate([t[0] for t in tests]), np.concatenate([t[1] for t in tests]))
            if tests
            else (None, None)
        )
        sizes = [len(train[0]) for train, _ in parts]
        return Dataset(
            inputs=inputs,
            labels=labels,
            test_inputs=test_inputs,
            test_labels=test_labels,
            classes=size,
            client=np.repeat(np.arange(len(sizes)), sizes),
            client_names=tuple(texts),
            notes=(f"the vocabulary of {len(known)} tokens pools all clients' training texts",),
        )

    def peek(self, folder: Path) -> Header:
        """Return what is known without reading the text."""
        return Header(
            fields={"inputs": FieldSpec("int64", (self.length,), "tokens")},
            targets=FieldSpec("int64", (self.length,)),
            has_clients=True,
            has_domains=False,
        )

    def texts(self, folder: Path) -> Sequence[tuple[str, bytes]]:
        """Return each client's name and text."""
        raise NotImplementedError

    @property
    def _most(self) -> int | None:
        return self.most_words if self.unit == "word" else None

    def _tokenized(self, folder: Path) -> Iterator[tuple[str, Array]]:
        for name, text in self.texts(folder):
            yield name, self._tokens(text)

    def _tokens(self, text: bytes) -> Array:
        import numpy as np

        if self.unit == "byte":
            return np.frombuffer(text, np.uint8)
        decoded = text.decode("utf-8", errors="replace")
        return np.array(decoded.split() if self.unit == "word" else list(decoded), dtype=str)

    def _windows(self, tokens: Array, filler: int) -> tuple[Array, Array]:
        """Return inputs and targets, both `(windows, length)`, -1 where there is no target."""
        import numpy as np

        begins = np.arange(0, max(len(tokens) - 1, 0), self.stride or self.length)
        inputs = np.full((len(begins), self.length), filler, np.int64)
        targets = np.full((len(begins), self.length), -1, np.int64)
        for at, begin in enumerate(begins):
            window = tokens[begin : begin + self.length + 1]
            inputs[at, : len(window) - 1], targets[at, : len(window) - 1] = window[:-1], window[1:]
            if len(window) == self.length + 1:
                inputs[at, -1], targets[at, -1] = window[-2], window[-1]
        return inputs, targets


def _vocabulary(texts: Sequence[Array], most: int | None) -> Array:
    """Return the tokens in ascending order, only the ``most`` frequent where that is a number."""
    import numpy as np

    tokens, counts = np.unique(np.concatenate(texts), return_counts=True)
    if most is None or len(tokens) <= most:
        return tokens
    return np.sort(tokens[np.argsort(-counts, kind="stable")[:most]])


def _numbered(tokens: Array, known: Array) -> Array:
    """Return the tokens' places in ``known``; of others the place behind it."""
    import numpy as np

    at = np.searchsorted(known, tokens)
    is_known = known[np.minimum(at, len(known) - 1)] == tokens
    numbers: Array = np.where(is_known, at, len(known))
    return numbers
