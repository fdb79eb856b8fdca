"""Packages that a simulation needs and a device does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fedsim.errors import MissingPackage

__all__ = ["needed_by"]


@contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Turn a failed import inside the block into the command that mends it.

    Args:
        what: what needs the package, such as ``source 'csv'``.

    Raises:
        MissingPackage: if an import in the block finds no such package.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        command = 'pip install "fedsim[sim]"'
        raise MissingPackage(f"{what} needs the package {error.name}: {command}") from error
