"""``fedsim export`` and ``fedsim predict``: a trained model leaves, or is used on new data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedsim.cli.options import Run
from fedsim.cli.screen import Screen
from fedsim.runlog.run_folder import RunFolder

__all__ = ["export", "predict"]


Best = Annotated[
    bool,
    typer.Option("--best", help="The best round's weights (evaluation.keep_best), not the last."),
]


class ExportFormat(StrEnum):
    """What a model can be written as."""

    torchscript = "torchscript"
    pt2 = "pt2"
    onnx = "onnx"
    safetensors = "safetensors"


def export(
    run: Run,
    to: Annotated[ExportFormat, typer.Option(help="The format.")] = ExportFormat.torchscript,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; by default in the run's folder.", show_default=False),
    ] = None,
    best: Best = False,
) -> None:
    """Write a finished run's model to a file that is read without fedsim.

    TorchScript, PT2 and ONNX files take raw inputs: filling and normalising are inside.
    """
    from fedsim.export.formats import FORMATS
    from fedsim.export.formats import export as write

    screen, folder = Screen.current(), RunFolder.open(run)
    file = out or folder.path / f"exported{FORMATS[to]}"
    how = write(folder, to, file, best)
    if screen.json:
        return screen.dump({"file": str(file), "format": to, "read_with": how})
    screen.say(f"saved   {file}")
    screen.say(f"read    {how}")
    return None


def predict(
    run: Run,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A .csv, .parquet or .npz file.")],
    out: Annotated[
        Path, typer.Option(help="Where the predictions go, as CSV.", show_default=True)
    ] = Path("predictions.csv"),
    best: Best = False,
) -> None:
    """Let a finished run's model predict for the examples of a file.

    The file is read as the run's own data was: the same columns and categories.
    """
    import pandas as pd

    from fedsim.export.prediction import predict as predictions

    screen, folder = Screen.current(), RunFolder.open(run)
    frame = pd.DataFrame(predictions(folder, data, best))
    frame.to_csv(out, index=False)
    if screen.json:
        return screen.dump({"file": str(out), "rows": len(frame), "columns": list(frame.columns)})
    screen.say(f"saved   {out}  {len(frame)} predictions: {', '.join(map(str, frame.columns[:6]))}")
    return None
