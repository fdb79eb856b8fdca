"""Your own torch ``Dataset``, arrays or tensors, from a function in a Python file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge

from fedsim.data.header import Header
from fedsim.data.missing import Missing
from fedsim.data.user_source import check_functions

if TYPE_CHECKING:
    from fedsim.data.dataset import Dataset

__all__ = ["Torch"]


@dataclass(frozen=True)
class Torch:
    """A function that returns a map-style ``Dataset`` of (input, target), or (inputs, targets).

    A third part, client, makes natural clients, and an input may be a dict of several by name.
    It is called once, before round 1, and what it gives is stored: workers and resumed runs do
    not call it again while the run's folder has it.
    """

    path: str
    """The function, ./file.py:NAME, relative to the scenario file; a class does as well."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """What it is given by keyword; seed and folder too, if it has parameters called so."""
    test: str | None = None
    """The function of the test split, in the same file by its name alone; takes the same arguments,
    those that it asks for."""
    inputs_as: Literal["auto", "numbers", "tokens"] = "auto"
    """What integers (n, length) are: amounts, or token ids, which are never normalised; auto:
    token ids, unless they are bytes (uint8)."""
    missing: Missing = "error"
    """What a NaN becomes: the mean of its column, zero, or an error."""
    length: Annotated[int, Ge(1)] | None = None
    """How many values a model is given of an input by name whose rows have several lengths: they
    are filled up with zeros, or cut off."""

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return what the function gives; torch's default generator is seeded while it is read.

        Raises:
            DataError: if there is no such function, it raises, or returns something else.
        """
        from fedsim.data.user_arrays import read_functions

        return read_functions(self, seed, folder)

    def peek(self, folder: Path) -> Header:
        """Return nothing but that the function is there: its file is read, and not run.

        Raises:
            DataError: if it is not there, or does not take the arguments.
        """
        check_functions(self, folder)
        return Header(test_rows=0 if self.test is None else None)

    def are_tokens(self, dtype: str, shape: Sequence[int]) -> bool:
        """Return whether inputs of this kind, such as ``int64``, are token ids."""
        if self.inputs_as != "auto":
            return self.inputs_as == "tokens"
        return dtype.startswith(("int", "uint")) and dtype != "uint8" and len(shape) == 2
