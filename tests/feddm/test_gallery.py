"""The picture of a round's synthetic images."""

from __future__ import annotations

import io

import numpy as np
import pytest

from fedsim.runlog.gallery import draw, nearest
from fedsim.seeds import numpy_stream


def shown(images: int, *shape: int) -> dict[str, np.ndarray]:
    generator = numpy_stream(0, "images")
    return {
        "images": generator.normal(size=(images, *shape)).astype(np.float32),
        "labels": np.arange(images) % 3,
        "client": np.arange(images) % 2,
    }


def real(client: int) -> tuple[np.ndarray, np.ndarray]:
    inputs = numpy_stream(1, "real", client).normal(size=(12, 1, 8, 8)).astype(np.float32)
    return inputs, np.arange(12) % 4


def test_the_same_images_give_the_same_bytes() -> None:
    one, two = (draw(shown(30, 1, 8, 8), real, "round 1") for _ in range(2))
    assert one == two
    assert one is not None
    assert one.startswith(b"\x89PNG")


def test_a_class_has_a_row_and_real_ones_below_it() -> None:
    from matplotlib.image import imread

    few, many = (imread(io.BytesIO(draw(shown(n, 1, 8, 8), real, "") or b"")) for n in (6, 3000))
    assert few.shape[0] == many.shape[0] == 28 + 3 * 2 * (32 + 2)
    assert many.shape[1] == 84 + 20 * (32 + 2)  # no more than twenty are shown


def test_the_nearest_is_of_the_same_class() -> None:
    inputs = np.stack([np.full((1, 2, 2), value) for value in (0.0, 1.0, 5.0)])
    found = nearest(np.full((1, 2, 2), 0.9), 7, inputs, np.array([7, 3, 7]))
    assert found.max() == 0.0
    assert nearest(np.ones((1, 2, 2)), 9, inputs, np.array([7, 3, 7])).max() == 0


def test_colours_are_kept() -> None:
    def coloured(client: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((3, 3, 8, 8), np.float32), np.arange(3)

    assert draw(shown(6, 3, 8, 8), coloured, "") is not None


@pytest.mark.parametrize("what", [{}, shown(0, 1, 8, 8), shown(5, 64), shown(5, 2, 8, 8)])
def test_what_is_no_image_is_not_drawn(what) -> None:
    assert draw(what, real, "") is None


def test_under_privacy_no_real_image_is_drawn() -> None:
    from matplotlib.image import imread

    alone = imread(io.BytesIO(draw(shown(6, 1, 8, 8), None, "") or b""))
    assert alone.shape[0] == 28 + 3 * (32 + 2)
