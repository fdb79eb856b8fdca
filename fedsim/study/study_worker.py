"""Runs a study's cells, one after the other: ``python -m fedsim.study.study_worker``.

It reads orders from stdin, a JSON object a line, and answers on stdout in the same way.  When
stdin closes without a word the study was killed, and the worker goes at once: what its cell has
finished is on disk and is resumed later.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, TextIO

from fedsim.errors import FedsimError, Interrupted
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load

if TYPE_CHECKING:
    from fedsim.runlog.events import Event, Result

__all__ = ["STOP", "answer", "main"]

STOP = "stop"


def main() -> None:
    """Answer orders until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the study's; it sends SIGTERM
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a plug-in prints goes to the log
    orders: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, orders), daemon=True).start()
    while (order := orders.get()) != STOP:
        answers.write(json.dumps(answer(**json.loads(order))) + "\n")


def _listen(orders: TextIO, queue: SimpleQueue[str]) -> None:
    for line in orders:
        queue.put(line.strip())
        if line.strip() == STOP:
            return
    os._exit(1)


def answer(scenario: str, folder: str, sets: list[str]) -> dict[str, object]:
    """Run one cell, or go on with it, and return what became of it.

    Args:
        scenario: the cell's scenario file.
        folder: the cell's run folder.
        sets: overrides for a cell that was not begun before.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    run = RunFolder(path)
    try:
        result = _result(run, Path(scenario), sets)
        return {"status": "finished", **_primary(run, result)}
    except Interrupted:
        return {"status": "left"}
    except FedsimError as error:
        if (done := run.result()) is not None:  # ended early, as its privacy budget asks
            return {"status": "finished", **_primary(run, done)}
        path.mkdir(parents=True, exist_ok=True)  # a run that could not start leaves no folder
        run.log(str(error))
        return {"status": "failed", "why": " ".join(str(error).split())}
    except (Exception, SystemExit) as error:  # a plug-in's; the next cell is none of its business
        run.log("".join(traceback.format_exception(error)))
        return {"status": "failed", "why": " ".join(f"{type(error).__name__}: {error}".split())}


def _primary(run: RunFolder, result: Result) -> dict[str, object]:
    primary = run.metrics()[0]
    return {"metric": primary.title, "value": result.metrics.get(primary.name)}


def _result(run: RunFolder, scenario: Path, sets: list[str]) -> Result:
    is_begun = run.scenario.is_file()
    # Loaded first: that pins the kernels that the scenario asks for, before torch is imported.
    loaded = load(run.scenario) if is_begun else load(scenario, sets)
    from fedsim.engine.run import resume_run, run_scenario

    if is_begun:
        return resume_run(run, _ignore)
    return run_scenario(loaded, run, _ignore)


def _ignore(_: Event) -> None:
    pass


if __name__ == "__main__":
    main()
