"""A source that is a function of the user's: called with what it asks for, checked by its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from fedsim.errors import DataError
from fedsim.plugins.user_function import GIVEN, UserFunction, refuse_unwanted

__all__ = ["check_functions", "functions_of", "results_of"]


class FunctionSource(Protocol):
    """What a scenario says of a source that is a function."""

    @property
    def path(self) -> str:
        """The function, as ``./file.py:NAME``."""
        ...

    @property
    def test(self) -> str | None:
        """The function of the test split, perhaps a name alone: one of the same file."""
        ...

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What they are given."""
        ...


def functions_of(source: FunctionSource, folder: Path) -> list[UserFunction]:
    """Return the function of the training split, and that of the test split if there is one.

    Raises:
        DataError: if one is not named as ``./file.py:NAME``.
    """
    train = UserFunction.of(source.path, folder)
    if source.test is None:
        return [train]
    if source.test.isidentifier():
        return [train, replace(train, name=source.test, key="test")]
    return [train, UserFunction.of(source.test, folder, "test")]


def check_functions(source: FunctionSource, folder: Path) -> None:
    """Check by its text that the file has the functions, and that these take the arguments.

    Raises:
        DataError: if it is not so.
    """
    if taken := set(GIVEN) & source.arguments.keys():
        message = f"a function that has a parameter {min(taken)!r} is given it: leave it out"
        raise DataError(message, "arguments")
    refuse_unwanted(functions_of(source, folder), source.arguments)


def results_of(
    source: FunctionSource, seed: int, folder: Path
) -> list[tuple[UserFunction, object]]:
    """Return each function with what it returned; each is called once.

    Raises:
        DataError: if a function is not there, does not take the arguments, or raises.
    """
    check_functions(source, folder)
    values = {"seed": seed, "folder": folder, **source.arguments}
    return [(function, function.result(values)) for function in functions_of(source, folder)]
