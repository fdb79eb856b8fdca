"""Keeps freed memory in the process, where the next step of training finds it mapped already."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's, from its malloc.h."""

KEPT = 1 << 30
"""Bytes of free memory at the end of the heap that are not given back."""

IN_HEAP = 32 << 20
"""The largest tensor that comes from the heap: glibc takes no larger number."""


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed; return whether it could be told.

    Every step of training asks for the same tensors again.  By default glibc gives large ones
    back to the system at once, and their pages have to be cleared and mapped anew in each step:
    up to a third of a step's time.  What is computed stays the same to the last bit, and the peak
    of a step's memory too; only between steps less is given back.
    """
    if sys.platform != "linux":
        return False
    try:
        tell = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library than glibc
        return False
    return bool(tell(M_MMAP_THRESHOLD, IN_HEAP)) and bool(tell(M_TRIM_THRESHOLD, KEPT))
