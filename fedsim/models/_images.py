"""What the convolutional models ask of an example's shape."""

from __future__ import annotations

__all__ = ["image_shape"]


def image_shape(shape: tuple[int, ...], at_least: int, model: str) -> tuple[int, int, int]:
    """Return ``shape`` as channels, height and width.

    Raises:
        ValueError: if it is not an image's, or a side is below ``at_least`` pixels.
    """
    if len(shape) != 3:
        raise ValueError(f"{model}: needs images (channels, height, width), not {tuple(shape)}")
    channels, height, width = shape
    if min(height, width) < at_least:
        raise ValueError(
            f"{model}: needs images of {at_least} by {at_least} pixels or more, "
            f"not {height} by {width}"
        )
    return channels, height, width
