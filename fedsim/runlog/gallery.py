"""Synthetic images as one picture a round: a row per class, nearest real images below them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsim.errors import MissingPackage

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Shown", "draw", "nearest"]

Shown = Mapping[str, Any]
"""Columns of a table, one row per image: ``images`` ``(n, channels, height, width)``, ``labels``
and ``client``, arrays or tensors on the CPU."""

Real = Callable[[int], tuple[Any, Any]]
"""From a client to its real inputs and labels: only a simulation can give them."""

COLUMNS = 20
"""Images of a class that are shown, taken evenly from all that there are."""
GAP = 2
"""Pixels between images, at their size on the picture."""
SIDE = 32
"""Pixels of an image's shorter side on the picture, at least."""


def draw(shown: Shown, real: Real | None, title: str) -> bytes | None:
    """Return a PNG, or None where there are no images; the same images give the same bytes.

    Args:
        shown: the synthetic images; empty, or other than of one or three channels: no picture.
        real: where the nearest real images of the same client and class come from; None draws
            none, as under privacy.
        title: above the picture.

    Raises:
        MissingPackage: if matplotlib is not installed.
    """
    if not shown or not len(shown["images"]) or shown["images"][0].shape[:-2] not in ((1,), (3,)):
        return None
    images, labels, clients = (np.asarray(shown[key]) for key in ("images", "labels", "client"))
    classes = sorted(set(labels.tolist()))
    low, high = np.percentile(images, (1, 99))
    rows: list[NDArray[Any]] = []
    names: list[str] = []
    for label in classes:
        at = _spread(np.flatnonzero(labels == label))
        rows.append(_row(list(images[at]), low, high))
        names.append(f"class {label}")
        if real is not None:
            nearest_images = [nearest(images[i], int(label), *real(int(clients[i]))) for i in at]
            rows.append(_row(nearest_images, low, high))
            names.append("nearest real")
    wide = max(row.shape[1] for row in rows)
    return _png(np.concatenate([_filled(row, wide) for row in rows]), names, title)


def nearest(image: NDArray[Any], label: int, inputs: Any, labels: Any) -> NDArray[Any]:
    """Return that one of ``inputs`` of class ``label`` which is nearest to ``image``."""
    same = np.asarray(inputs)[np.asarray(labels) == label]
    distances = ((same - image) ** 2).sum(axis=tuple(range(1, same.ndim)))
    closest: NDArray[Any] = same[distances.argmin()] if len(same) else np.zeros_like(image)
    return closest


def _spread(places: NDArray[Any]) -> NDArray[Any]:
    """Return at most ``COLUMNS`` of ``places``, evenly chosen."""
    if len(places) <= COLUMNS:
        return places
    chosen: NDArray[Any] = places[np.linspace(0, len(places) - 1, COLUMNS).round().astype(int)]
    return chosen


def _row(images: list[NDArray[Any]], low: float, high: float) -> NDArray[Any]:
    """Return images side by side, `(height, width, 3)`, in [0, 1], each with a white edge."""
    zoom = max(1, SIDE // min(images[0].shape[1:]))
    framed = []
    for image in images:
        pixels = np.clip((image.transpose(1, 2, 0) - low) / max(high - low, 1e-9), 0, 1)
        large = pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)
        coloured = np.broadcast_to(large, (*large.shape[:2], 3))
        framed.append(np.pad(coloured, ((0, GAP), (0, GAP), (0, 0)), constant_values=1))
    return np.concatenate(framed, axis=1)


def _filled(row: NDArray[Any], wide: int) -> NDArray[Any]:
    """Return ``row`` with white to its right, so that it is ``wide`` pixels wide."""
    return np.pad(row, ((0, 0), (0, wide - row.shape[1]), (0, 0)), constant_values=1)


def _png(picture: NDArray[Any], names: list[str], title: str) -> bytes:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        command = 'pip install "fedsim[sim]"'
        raise MissingPackage(f"pictures need the package {error.name}: {command}") from error

    high, wide = picture.shape[:2]
    left, top = 84, 28
    page = max(wide + left, 420), high + top
    with rc_context({"font.size": 8}):
        figure = Figure(figsize=(page[0] / 100, page[1] / 100), dpi=100)
        axes = figure.add_axes((left / page[0], 0, wide / page[0], high / page[1]))
        axes.imshow(picture, interpolation="none", aspect="auto")
        axes.set_yticks([high / len(names) * (row + 0.5) for row in range(len(names))], names)
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=7)
        figure.text(0.01, 1 - top / 2 / page[1], title, va="center")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
