"""What models of other libraries share: how their absence, and a broken one, are said."""

from __future__ import annotations

import importlib
from typing import Any

from fedsim.errors import MissingPackage

__all__ = ["library"]


def library(name: str) -> Any:
    """Return the library called ``name``, imported.

    Raises:
        MissingPackage: if it is not installed, or does not fit the torch that is.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise MissingPackage(f"{name} needs {error.name}: pip install {error.name}") from error
        raise MissingPackage(f"this model needs {name}: pip install {name}") from error
    except (ImportError, RuntimeError) as error:
        # A torchvision for CUDA beside a torch without it ends in "operator ... does not exist".
        text = " ".join(str(error).split())[:200]
        hint = "take torch and torchvision from the same package index"
        message = f"{name} does not fit the torch that is installed ({hint}): {text}"
        raise MissingPackage(message) from error
