"""A trained model that takes raw inputs and gives what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fedsim.errors import RunFolderError
from fedsim.models._lora import merge_adapters
from fedsim.models._scenario_model import scenario_model
from fedsim.models._state import load_weights
from fedsim.named_tensors import NamedShapes, NamedTensors
from fedsim.plugins.registry import build as build_part
from fedsim.runlog.run_folder import BEST, MODEL, RunFolder
from fedsim.scenario.load import load
from fedsim.task import TargetSpec, Task

__all__ = ["Deployed", "deployed", "model_of", "preprocessing_in", "weights_file"]

_MEANINGS = {
    "classification": "probabilities",
    "binary": "probabilities",
    "multilabel": "probabilities",
    "regression": "values",
    "survival": "scores",
}
"""What a task's outputs are turned into; those of other tasks stay as they are."""


class Deployed(nn.Module):
    """Fills what is absent, normalises, and runs the model: raw inputs in, meanings out."""

    def __init__(self, model: nn.Module, task: Task, constants: Mapping[str, Any]) -> None:
        """Take the model and what ``preprocessing.json`` says.

        Args:
            model: in evaluation mode.
            task: that it was trained for.
            constants: the file's content.
        """
        super().__init__()
        self.model = model
        self._task, self._meaning = task, _MEANINGS.get(constants["task"]["use"], "")
        self.are_tokens = constants["inputs"]["dtype"] == "int64"
        self._fields: list[dict[str, Any]] = constants["inputs"].get("fields", [])
        along = [-1, *[1] * (len(constants["inputs"]["shape"]) - 1)]
        for name in ("centre", "spread", "fill"):
            values = constants[name]
            tensor = None if values is None else torch.tensor(values, dtype=torch.float32)
            self.register_buffer(name, None if tensor is None else tensor.reshape(along))

    centre: Tensor
    spread: Tensor
    fill: Tensor | None

    def _of_names(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return what :meth:`forward` does, of several inputs by name."""
        ready, first = {}, 0
        for field in self._fields:
            values, shape = inputs[field["name"]], field["shape"]
            stop = first + (shape[0] if shape else 1)
            if field["dtype"] != "int64":
                along = [-1, *[1] * (len(shape) - 1)]
                centre, spread = (part[first:stop] for part in (self.centre, self.spread))
                values = values.to(torch.float32) - centre.reshape(along)
                values = values / spread.reshape(along)
            ready[field["name"]], first = values, stop
        return self._meant(self.model(NamedTensors(ready)))

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return probabilities, values, or raw outputs, `(n, ...)`, float32.

        Args:
            inputs: `(n, *shape)`, as the data has them: not normalised; NaN where absent, if the
                scenario fills that; several inputs are by name.
        """
        if isinstance(inputs, Mapping):
            return self._of_names(inputs)
        if not self.are_tokens:
            inputs = inputs.to(torch.float32)
            if self.fill is not None:
                inputs = torch.where(inputs.isnan(), self.fill, inputs)
            inputs = (inputs - self.centre) / self.spread
        return self._meant(self.model(inputs))

    def _meant(self, outputs: Tensor) -> Tensor:
        if self._meaning:
            outputs = self._task.predict(outputs)[self._meaning]
        return outputs.to(torch.float32)


def preprocessing_in(folder: RunFolder) -> dict[str, Any]:
    """Return what the run's ``preprocessing.json`` holds.

    Raises:
        RunFolderError: if it has none, as runs of version 0.1.
    """
    constants: dict[str, Any] | None = folder.read_json("preprocessing.json")
    if constants is None:
        raise RunFolderError(
            f"{folder.path} has no preprocessing.json: it was made by version 0.1; run it again "
            f"with: fedsim rerun {folder.path}"
        )
    return constants


def model_of(folder: RunFolder, best: bool = False) -> nn.Module:
    """Return the run's model with its final weights, in evaluation mode; inputs are normalised.

    Low-rank adapters are added to the weights that they belong to.

    Args:
        folder: of the run.
        best: whether the weights are those of the best round instead.

    Raises:
        RunFolderError: if the run is not finished, or kept no best round.
    """
    return _parts(folder, best)[0]


def deployed(folder: RunFolder, best: bool = False) -> Deployed:
    """Return the run's model with its preprocessing; arguments as of :func:`model_of`.

    Raises:
        RunFolderError: as :func:`model_of`, or if the run says nothing of its preprocessing.
    """
    model, task, constants = _parts(folder, best)
    return Deployed(model, task, constants).eval()


def weights_file(folder: RunFolder, best: bool = False) -> Path:
    """Return the file of the final weights, or of the best round's.

    Raises:
        RunFolderError: if it is not there.
    """
    file = folder.path / (BEST if best else MODEL)
    if file.is_file():
        return file
    if best and (folder.path / MODEL).is_file():
        raise RunFolderError(
            f"{folder.path} kept no best round: evaluation.keep_best does, in a new run"
        )
    raise RunFolderError(f"{folder.path} has no final weights: fedsim resume {folder.path}")


def _parts(folder: RunFolder, best: bool) -> tuple[nn.Module, Task, dict[str, Any]]:
    file = weights_file(folder, best)
    scenario, constants = load(folder.scenario), preprocessing_in(folder)
    spec = TargetSpec.of(constants["targets"])
    task: Task = build_part("task", scenario.task, scenario.folder, targets=spec)
    shape: tuple[int, ...] | NamedShapes = tuple(constants["inputs"]["shape"])
    if fields := constants["inputs"].get("fields"):
        shape = NamedShapes(
            {field["name"]: tuple(field["shape"]) for field in fields},
            {field["name"]: field["dtype"] for field in fields},
            {field["name"]: field["size"] for field in fields if field["size"] is not None},
        )
    model = scenario_model(scenario, shape, task.outputs)
    load_weights(model, load_file(file))
    return merge_adapters(model).eval(), task, constants
