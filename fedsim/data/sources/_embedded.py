"""Small data sets that come with scikit-learn, read from its files without importing it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fedsim.data.header import FieldSpec, Header
from fedsim.errors import DataError, MissingPackage

if TYPE_CHECKING:
    from fedsim.data.dataset import Array, Dataset

__all__ = ["Embedded"]


@dataclass(frozen=True)
class Embedded:
    """A table of numbers in one of scikit-learn's files; a class for each says which.

    There is no official test split: ``holdout.server_test`` says how much the server keeps.
    """

    task: ClassVar[str] = "classification"
    """What there is to learn, where a scenario does not say."""
    rows: ClassVar[int]
    columns: ClassVar[tuple[str, ...]]
    class_names: ClassVar[tuple[str, ...]] = ()
    """Empty where targets are amounts."""
    target_names: ClassVar[tuple[str, ...]] = ()
    file: ClassVar[str]
    """In scikit-learn's folder of data; labels are its last column."""

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the data set; both arguments are of no account.

        Raises:
            DataError: if the installed scikit-learn has no such file.
            MissingPackage: if scikit-learn is not installed.
        """
        import numpy as np

        from fedsim.data.dataset import Dataset

        inputs, targets = self.arrays()
        kind = np.int64 if self.class_names else np.float32
        return Dataset(
            inputs=inputs.astype(np.float32),
            labels=targets.astype(kind),
            test_inputs=None,
            test_labels=None,
            classes=len(self.class_names),
            class_names=self.class_names,
            columns=self.columns,
            target_names=self.target_names,
        )

    def peek(self, folder: Path) -> Header:
        """Return what the class says of itself: no file is opened."""
        shape = () if len(self.target_names) < 2 else (len(self.target_names),)
        targets = (
            FieldSpec("int64", (), "classes") if self.class_names else FieldSpec("float32", shape)
        )
        return Header(
            fields={"inputs": FieldSpec("float32", (len(self.columns),))},
            targets=targets,
            rows=self.rows,
            test_rows=0,
            classes=len(self.class_names),
            class_names=self.class_names,
            columns=self.columns,
            has_clients=False,
            has_domains=False,
        )

    def arrays(self) -> tuple[Array, Array]:
        """Return inputs ``(rows, columns)`` and targets as the file has them."""
        table = self.table(self.file, delimiter=",", skiprows=1)
        return table[:, :-1], table[:, -1]

    def table(self, name: str, **layout: Any) -> Array:
        """Return the numbers in one of scikit-learn's files, float64.

        Args:
            name: of the file.
            layout: what :func:`numpy.loadtxt` has to know of it.

        Raises:
            DataError: if the installed scikit-learn has no such file.
            MissingPackage: if scikit-learn is not installed.
        """
        import numpy as np

        spec = find_spec("sklearn")
        if spec is None or spec.origin is None:
            who = f"source '{type(self).__name__}' needs the package sklearn"
            raise MissingPackage(f'{who}: pip install "fedsim[sim]"')
        file = Path(spec.origin).parent / "datasets" / "data" / name
        if not file.is_file():
            raise DataError(f"the installed scikit-learn has no file {name}")
        table: Array = np.loadtxt(file, **layout)
        return table
