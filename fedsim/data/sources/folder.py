"""Pictures in folders: one subfolder per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from fedsim.data.array_reading import as_inputs, reading
from fedsim.data.dataset import Array, Dataset
from fedsim.data.packages import needed_by
from fedsim.errors import DataError

__all__ = ["Folder"]

_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".pgm", ".png", ".ppm", ".tif", ".webp"}


@dataclass(frozen=True)
class Folder:
    """``PATH/CLASS/FILE``, or ``PATH/train/CLASS/FILE`` and ``PATH/test/CLASS/FILE``.

    Files are pictures that Pillow reads, or single arrays (``.npy``).  Classes are numbered in
    the order of their names.
    """

    path: str
    """Relative to the scenario file."""
    size: Annotated[int, Ge(1)] | None = None
    """Pictures are scaled to so many pixels square; null: they all have one size already."""
    colour: Literal["grey", "rgb"] = "rgb"
    """What pictures are turned into; arrays are taken as they are."""

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the pictures; ``seed`` is of no account.

        Raises:
            DataError: if there are no pictures, or one is unlike the first.
            MissingPackage: if Pillow is not installed.
        """
        root = folder / self.path
        with reading(root):
            train = root / "train" if (root / "train").is_dir() else root
            test = root / "test" if train != root and (root / "test").is_dir() else None
            names = tuple(sorted(entry.name for entry in train.iterdir() if entry.is_dir()))
            inputs, labels = self._examples(train, names)
            test_part = None if test is None else self._examples(test, names)
            test_inputs, test_labels = test_part or (None, None)
            return Dataset(inputs, labels, test_inputs, test_labels, len(names), names)

    def _examples(self, root: Path, names: Sequence[str]) -> tuple[Array, Array]:
        files = [
            (file, label)
            for label, name in enumerate(names)
            for file in sorted((root / name).glob("*"))
            if file.suffix.lower() in _SUFFIXES
        ]
        if not files:
            raise DataError(
                f"no pictures in the subfolders of {root.name}/; one per class is expected"
            )
        pixels = [self._pixels(file) for file, _ in files]
        for (file, _), array in zip(files, pixels, strict=True):
            if array.shape != pixels[0].shape:
                like = f"{array.shape}, {files[0][0].name} {pixels[0].shape}"
                raise DataError(f"{file.name} has the shape {like}; say size: N to scale all")
        return as_inputs(np.stack(pixels)), np.array([label for _, label in files], dtype=np.int64)

    def _pixels(self, file: Path) -> Array:
        """Return one example; a picture has the shape ``(channels, height, width)``."""
        with reading(file):
            if file.suffix.lower() == ".npy":
                array: Array = np.load(file, allow_pickle=False)
                return array[None] if array.ndim == 2 else array
            with needed_by("source 'folder'"):
                from PIL import Image
            with Image.open(file) as image:
                picture = image.convert("L" if self.colour == "grey" else "RGB")
            if self.size is not None:
                picture = picture.resize((self.size, self.size))
            pixels = np.asarray(picture)
            return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
