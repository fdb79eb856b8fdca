"""A run from Python: its folder, with what is in it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from fedsim.analysis.frames import Frames
from fedsim.analysis.frames import load as load_frames
from fedsim.errors import RunFolderError
from fedsim.runlog.events import Result
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load as load_scenario
from fedsim.schema.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import Tensor, nn

__all__ = ["Run"]


class Run:
    """A run's folder, with what is in it."""

    def __init__(self, folder: RunFolder) -> None:
        """Look at a folder; nothing is read before it is asked for."""
        self.folder = folder.path
        """Where everything of the run is."""
        self._folder = folder

    @cached_property
    def result(self) -> Result:
        """What the run came to.

        Raises:
            RunFolderError: if it is not finished.
        """
        result = self._folder.result()
        if result is None:
            how = f"fedsim.resume({str(self.folder)!r})"
            raise RunFolderError(f"{self.folder} is not finished: {how}")
        return result

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario with nothing left implicit."""
        return load_scenario(self._folder.scenario)

    @cached_property
    def _frames(self) -> Frames:
        return load_frames(self.folder)

    @property
    def rounds(self) -> pd.DataFrame:
        """A row for each round."""
        return self._frames.rounds

    @property
    def clients(self) -> pd.DataFrame:
        """A row for each client and evaluation; may be empty."""
        return self._frames.clients

    @property
    def cells(self) -> pd.DataFrame:
        """One row: the run and its result, as a study has one for each run."""
        return self._frames.cells

    def value(self, metric: str = "") -> float:
        """Return a metric at the end, on the server's test set; the primary one by default."""
        metrics = self.result.metrics
        name = metric or self._folder.metrics()[0].name
        if name not in metrics:
            raise KeyError(f"this run measured {', '.join(metrics)}, not {name!r}")
        return metrics[name]

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The final weights, by name."""
        from safetensors.torch import load_file

        return load_file(self.folder / "model.safetensors")

    def model(self, best: bool = False) -> nn.Module:
        """Return the model with its final weights, in evaluation mode; inputs are normalised.

        Args:
            best: whether the weights are those of the best round (``evaluation.keep_best``).

        Raises:
            RunFolderError: if the run kept no such weights.
        """
        from fedsim.export.deployed import model_of

        return model_of(self._folder, best)

    def predictor(self, best: bool = False) -> nn.Module:
        """Return the model that takes raw inputs and gives probabilities or values.

        Args:
            best: as of :meth:`model`.

        Raises:
            RunFolderError: if the run kept no such weights.
        """
        from fedsim.export.deployed import deployed

        return deployed(self._folder, best)

    def plot(self) -> Figure:
        """Return the primary metric over rounds, as a figure of matplotlib's."""
        from matplotlib.figure import Figure

        primary = self._folder.metrics()[0]
        points = [(r.round, r.metrics[primary.name]) for r in self._folder.rounds() if r.metrics]
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "")
        axes.set(xlabel="round", ylabel=f"test {primary.axis_label}", title=self.scenario.name)
        axes.grid(alpha=0.3)
        return figure

    def __repr__(self) -> str:
        """Return the run's name, state and primary metric."""
        primary = self._folder.metrics()[0]
        result = self._folder.result()
        if result is None:
            return f"<Run {self.folder}: {self._folder.status()}>"
        value = result.metrics.get(primary.name, float("nan"))
        return f"<Run {self.folder}: {primary.title} {value:.4g} after {result.rounds} rounds>"

    def _repr_html_(self) -> str:
        """Return the metrics at the end as a small table."""
        from html import escape

        result = self._folder.result()
        metrics = result.metrics if result else {}
        rows = [f"<tr><td>{escape(k)}</td><td>{v:.4g}</td></tr>" for k, v in metrics.items()]
        return f"<b>{escape(str(self.folder))}</b><table>{''.join(rows)}</table>"
