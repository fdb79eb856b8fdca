"""Pictures in folders: one subfolder per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from fedsim.data.header import FieldSpec, Header
from fedsim.data.packages import needed_by
from fedsim.data.reading import reading
from fedsim.errors import DataError

if TYPE_CHECKING:
    from fedsim.data.dataset import Array, Dataset

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
        from fedsim.data.dataset import Dataset

        root = folder / self.path
        with reading(root):
            train, test = _splits(root)
            names = _class_names(train)
            inputs, labels = self._examples(train, names)
            test_part = None if test is None else self._examples(test, names)
            test_inputs, test_labels = test_part or (None, None)
            return Dataset(inputs, labels, test_inputs, test_labels, len(names), names)

    def peek(self, folder: Path) -> Header:
        """Return what the names of folders and files tell, and the size of the first picture.

        Raises:
            DataError: if there are no pictures.
            MissingPackage: if Pillow is not installed.
        """
        root = folder / self.path
        with reading(root):
            train, test = _splits(root)
            names = _class_names(train)
            files = _files(train, names)
            return Header(
                fields={"inputs": FieldSpec("uint8", self._shape(files[0][0]), "image")},
                targets=FieldSpec("int64", (), "classes"),
                rows=len(files),
                test_rows=0 if test is None else len(_files(test, names)),
                classes=len(names),
                class_names=names,
                has_clients=False,
                has_domains=False,
            )

    def _shape(self, file: Path) -> tuple[int, ...] | None:
        """Return the shape of one picture; None for an array."""
        channels = 1 if self.colour == "grey" else 3
        if file.suffix.lower() == ".npy":
            return None
        if self.size is not None:
            return channels, self.size, self.size
        with needed_by("source 'folder'"):
            from PIL import Image
        with Image.open(file) as image:  # reads the header alone
            return channels, image.height, image.width

    def _examples(self, root: Path, names: Sequence[str]) -> tuple[Array, Array]:
        import numpy as np

        from fedsim.data.array_reading import as_inputs

        files = _files(root, names)
        pixels = [self._pixels(file) for file, _ in files]
        for (file, _), array in zip(files, pixels, strict=True):
            if array.shape != pixels[0].shape:
                like = f"{array.shape}, {files[0][0].name} {pixels[0].shape}"
                raise DataError(f"{file.name} has the shape {like}; say size: N to scale all")
        return as_inputs(np.stack(pixels)), np.array([label for _, label in files], dtype=np.int64)

    def _pixels(self, file: Path) -> Array:
        """Return one example; a picture has the shape ``(channels, height, width)``."""
        import numpy as np

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


def _splits(root: Path) -> tuple[Path, Path | None]:
    """Return the folder of the training pictures, and that of the test's, if there is one."""
    train = root / "train" if (root / "train").is_dir() else root
    return train, root / "test" if train != root and (root / "test").is_dir() else None


def _class_names(root: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir()))


def _files(root: Path, names: Sequence[str]) -> list[tuple[Path, int]]:
    """Return the pictures of each class, with the class's number.

    Raises:
        DataError: if there are none.
    """
    files = [
        (file, label)
        for label, name in enumerate(names)
        for file in sorted((root / name).glob("*"))
        if file.suffix.lower() in _SUFFIXES
    ]
    if not files:
        raise DataError(f"no pictures in the subfolders of {root.name}/; one per class is expected")
    return files
