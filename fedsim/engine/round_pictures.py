"""What a strategy hands out of a round to be looked at: tables, and a picture of images."""

from __future__ import annotations

from torch import Tensor

from fedsim.engine.experiment import Experiment
from fedsim.runlog import gallery, tables
from fedsim.runlog.run_folder import RunFolder
from fedsim.strategy import ServerState

__all__ = ["draw_round"]


def draw_round(experiment: Experiment, folder: RunFolder, number: int, state: ServerState) -> None:
    """Keep the strategy's tables, and a picture of the images that clients sent.

    Without privacy the nearest real ones are beside them: a simulation alone has them.
    """
    scenario, data, strategy = experiment.scenario, experiment.data, experiment.strategy
    tables.append(folder.path, number, strategy.tables(state))

    def real(client: int) -> tuple[Tensor, Tensor]:
        examples = data.train(client)
        return examples.inputs, examples.labels

    title = f"{scenario.name}, round {number}: what clients sent"
    beside = real if scenario.privacy is None and data.is_here else None
    if picture := gallery.draw(strategy.pictures(state), beside, title):
        (folder.path / "pictures").mkdir(exist_ok=True)
        folder.write(f"pictures/round_{number:04d}.png", picture)
