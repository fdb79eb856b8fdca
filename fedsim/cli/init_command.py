"""``fedsim init``: a folder to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedsim.cli.screen import Screen
from fedsim.errors import RunFolderError
from fedsim.runlog.files import write

__all__ = ["init"]

_README = """\
# An experiment with fedsim

    fedsim check scenario.yaml           # is it right?
    fedsim data preview scenario.yaml    # who holds what?
    fedsim run scenario.yaml             # results go to runs/
    fedsim ls                            # all runs
    fedsim show runs/quickstart/latest   # the newest one

`fedsim explain KEY` says what a line of scenario.yaml means, `fedsim list strategies` what else
there is. `my_idea.py` is a strategy of your own:

    fedsim run scenario.yaml --set strategy=./my_idea.py:MyIdea
"""

_IDEA = '''\
"""A strategy of my own: FedAvg whose server goes further than the clients' mean."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt

from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import Merged


@dataclass(frozen=True)
class MyIdea(Strategy):
    """FedAvg with a server learning rate; with ``lr = 1`` it is FedAvg."""

    lr: Annotated[float, Gt(0)] = 1.5
    """How far the server goes along the clients' mean update."""

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Return the state after the weights moved by ``lr`` times the mean update."""
        return state.moved({name: self.lr * delta for name, delta in merged.delta.items()})
'''


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder; created if it does not exist.")
    ] = Path(),
) -> None:
    """Make a scenario to start from, and a strategy of your own to change."""
    from fedsim.scenario.inherit import presets

    screen = Screen.current()
    scenario = presets()["quickstart"].read_text(encoding="utf-8")
    contents = {"scenario.yaml": scenario, "README.md": _README, "my_idea.py": _IDEA}
    if there := [name for name in contents if (folder / name).exists()]:
        raise RunFolderError(f"{folder} already has {', '.join(there)}; nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot make {folder}: {error.strerror}") from error
    for name, content in contents.items():
        write(folder / name, content)
    created = [str(folder / name) for name in contents]
    if screen.json:
        return screen.dump({"created": created})
    screen.say(f"created {'  '.join(created)}")
    place = "" if folder == Path() else f"cd {folder} && "
    return screen.next(f"{place}fedsim run scenario.yaml")
