"""What becomes of a number that is absent (NaN)."""

from __future__ import annotations

from typing import Literal

__all__ = ["Missing"]

Missing = Literal["error", "mean", "zero"]
"""The mean is that of the training examples' column."""
