"""The Flower app of one run: a folder of four small files, generated, and all that is shipped.

fedsim itself is installed on the server and on the devices.  The folder tells it what to run:
the scenario with its privacy settled, and what a device must know of data that it does not hold.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedsim.errors import RunFolderError
from fedsim.runlog import files
from fedsim.scenario.load import load
from fedsim.scenario.yaml_file import dump
from fedsim.schema.scenario import Scenario

__all__ = ["Shipped", "write_app"]

_SCENARIO, _TERMS = "scenario.yaml", "terms.json"

_PROJECT = """\
[project]
name = "fedsim-run"
version = "{version}"
description = "One run of fedsim: generated, not to be edited."
license = "Apache-2.0"
dependencies = ["fedsim"]

[tool.flwr.app]
publisher = "fedsim"

[tool.flwr.app.components]
serverapp = "fedsim_server_app:app"
clientapp = "fedsim_client_app:app"

[tool.flwr.app.config]
folder = ""
federation = ""
"""

_MODULE = '''\
"""Generated: the {side} of a run of fedsim."""
from pathlib import Path

from fedsim.edge.on_{side} import {side}_app

app = {side}_app(Path(__file__).parent)
'''

_SIDES = {"client": "fedsim_client_app.py", "server": "fedsim_server_app.py"}


@dataclass(frozen=True)
class Shipped:
    """What the folder of an app says."""

    run: str
    """Of the run: the same after it is resumed."""
    scenario: Scenario
    terms: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Shipped:
        """Return what the app in ``folder`` says.

        Raises:
            RunFolderError: if it is no app of fedsim's.
            ScenarioError: if this fedsim cannot run its scenario.
        """
        try:
            saved = json.loads((folder / _TERMS).read_text(encoding="utf-8"))
            return cls(saved["run"], load(folder / _SCENARIO), saved["data"])
        except (OSError, ValueError, KeyError) as error:
            raise RunFolderError(f"{folder} is no app of fedsim's: {error}") from error


def write_app(folder: Path, shipped: Shipped) -> None:
    """Write the app into ``folder``, anew."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / "pyproject.toml", _PROJECT.format(version=_plain(version("fedsim"))))
    for side, name in _SIDES.items():
        files.write(folder / name, _MODULE.format(side=side))
    files.write(folder / _SCENARIO, dump(shipped.scenario.resolved()))
    files.write(folder / _TERMS, {"run": shipped.run, "data": shipped.terms})


def _plain(release: str) -> str:
    return release.partition("+")[0]
