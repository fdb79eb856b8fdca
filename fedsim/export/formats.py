"""Files that a trained model is written to, each read without fedsim."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from fedsim.errors import MissingPackage, RunError
from fedsim.export.deployed import Deployed, deployed, model_of, preprocessing_in
from fedsim.runlog.run_folder import RunFolder

__all__ = ["FORMATS", "export"]

FORMATS = {"torchscript": ".pt", "pt2": ".pt2", "onnx": ".onnx", "safetensors": ".safetensors"}
"""The endings of the files."""

HOW = {
    "torchscript": "torch.jit.load({file!r})(raw_inputs)",
    "pt2": "torch.export.load({file!r}).module()(raw_inputs)",
    "onnx": "onnxruntime.InferenceSession({file!r}).run(None, {{'inputs': raw_inputs}})",
    "safetensors": "safetensors.torch.load_file({file!r}), with the constants beside it",
}


def export(folder: RunFolder, kind: str, file: Path, best: bool = False) -> str:
    """Write the run's model, final or that of the best round, to ``file``; return how it is read.

    Raises:
        MissingPackage: if the format needs a package that is not installed.
        RunError: if the model cannot be written so.
        RunFolderError: if the run has no such weights.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if kind == "safetensors":
        state = model_of(folder, best).state_dict()
        save_file({name: value.clone().contiguous() for name, value in state.items()}, file)
        beside = file.with_suffix(".preprocessing.json")
        beside.write_text(json.dumps(preprocessing_in(folder), indent=2) + "\n", encoding="utf-8")
    else:
        model, constants = deployed(folder, best), preprocessing_in(folder)
        if "fields" in constants["inputs"]:
            raise RunError(
                f"a model of several inputs is exported to safetensors alone, not {kind}"
            )
        try:
            _WRITERS[kind](model, _example(constants), file)
        except MissingPackage:
            raise
        except Exception as error:  # of PyTorch's exporters, of many kinds
            text = " ".join(str(error).split())[:300]
            raise RunError(f"this model cannot be written as {kind}: {text}") from error
    return HOW[kind].format(file=str(file))


def _example(constants: dict[str, Any]) -> torch.Tensor:
    shape = (2, *constants["inputs"]["shape"])
    is_tokens = constants["inputs"]["dtype"] == "int64"
    return torch.zeros(shape, dtype=torch.int64 if is_tokens else torch.float32)


def _torchscript(model: Deployed, example: torch.Tensor, file: Path) -> None:
    import warnings

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer's, about shapes that stay as they are
        torch.jit.trace(model, example, check_trace=False).save(str(file))  # type: ignore[no-untyped-call]


def _pt2(model: Deployed, example: torch.Tensor, file: Path) -> None:
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: rows},))
    torch.export.save(program, file)


def _onnx(model: Deployed, example: torch.Tensor, file: Path) -> None:
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise MissingPackage(
            f"ONNX needs {' and '.join(missing)}; install with: pip install {' '.join(missing)}"
        )
    torch.onnx.export(
        model,
        (example,),
        str(file),
        input_names=["inputs"],
        output_names=["outputs"],
        dynamic_shapes=({0: torch.export.Dim("rows", min=1)},),
        dynamo=True,
    )


_WRITERS = {"torchscript": _torchscript, "pt2": _pt2, "onnx": _onnx}
