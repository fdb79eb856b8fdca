"""Which kernels compute floats: pinned before they are first used, so that bits can be relied on.

MKL, oneDNN, PyTorch, NumPy and OpenBLAS each look at the processor and pick kernels that sum in an
order of their own.  Two promises are made of that choice:

``here``
    On one machine a row of a matrix product has the same bits wherever it stands in the matrix.
    MKL keeps to that in its strict mode of conditional numerical reproducibility, and so the
    bounds of DP-SGD hold to the last bit.

``anywhere``
    Kernels for AVX2 alone, on whatever x86-64 processor, so that one scenario has one hash on
    processors with and without AVX-512.  No library promises it across makers of processors;
    docs/determinism.md says what was compared.

References:
    Intel oneAPI MKL Developer Guide, "Getting Reproducible Results": ``MKL_CBWR``.
    oneDNN Developer Guide, "CPU Dispatcher Control": ``ONEDNN_MAX_CPU_ISA``.
    NumPy, "CPU build options: runtime dispatch": ``NPY_DISABLE_CPU_FEATURES``.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Literal

from fedsim.errors import RunError

__all__ = ["PINS", "Promise", "in_force", "pin", "pin_here", "require"]

Promise = Literal["here", "anywhere"]

PINS: Mapping[Promise, Mapping[str, str]] = {
    # AUTO is the best that the processor has; STRICT holds for rows wherever they stand.
    "here": {"MKL_CBWR": "AUTO,STRICT"},
    "anywhere": {
        "MKL_CBWR": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    },
}
"""Environment variables that the libraries read once, when they are first used."""

_KEY = "compute.repeatable: anywhere"


def pin_here() -> None:
    """Pin what ``here`` asks for, where the user has not chosen otherwise."""
    for name, value in PINS["here"].items():
        os.environ.setdefault(name, value)


def pin(promise: Promise) -> None:
    """Pin the kernels of this process and of those that it starts.

    To be called before torch and NumPy are imported; where they are, nothing is changed, and
    :func:`require` tells whether they happen to be pinned already.

    Raises:
        RunError: if no pin can keep the promise on this processor.
    """
    if promise == "here":
        return  # pinned when fedsim was imported
    if platform.machine() not in ("x86_64", "AMD64"):
        raise RunError(
            f"{_KEY} needs an x86-64 processor with AVX2, and this is {platform.machine()}: "
            "take compute.repeatable: here"
        )
    if not {"torch", "numpy"} & sys.modules.keys():
        os.environ.update(PINS[promise])


def require(promise: Promise) -> None:
    """Check that this process computes with the kernels of ``promise``; torch is loaded for it.

    Raises:
        RunError: if it does not.
    """
    import torch

    is_pinned = all(os.environ.get(name) == value for name, value in PINS["anywhere"].items())
    if promise == "here":
        if is_pinned:
            raise RunError(
                "compute.repeatable: here, but this process was pinned for anywhere, with other "
                "results: run it in a process of its own"
            )
        return
    if not is_pinned:
        settings = " ".join(f"{name}='{value}'" for name, value in PINS[promise].items())
        raise RunError(
            f"{_KEY} has to be set before torch and NumPy are loaded: start with fedsim run, or "
            f"with this environment: {settings}"
        )
    capability = torch.backends.cpu.get_cpu_capability()
    if capability != "AVX2":
        raise RunError(
            f"{_KEY} needs a processor with AVX2 and kernels that were pinned from the start; "
            f"PyTorch computes with {capability}: take compute.repeatable: here"
        )


def in_force() -> dict[str, str]:
    """Return the settings that this process computes with, by name; unset ones are left out."""
    names = PINS["here"].keys() | PINS["anywhere"].keys()
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}
