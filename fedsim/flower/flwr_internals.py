"""All uses of Flower's private names, in one file; ``tests/flower/test_private.py`` checks them.

Holds for Flower 1.41 and 1.42.  Two things have no public way yet: a process that creates
messages needs an identity, and a message in flight needs an id.  And two are slow by its
design: how often a SuperNode asks for work, and what a process for one message imports.
"""

from __future__ import annotations

import time

from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = [
    "NODE_UNAVAILABLE",
    "SERVER_NODE",
    "VERSIONS",
    "Run",
    "empty_run",
    "identify",
    "import_clientapp",
    "run_clientapp",
    "run_supernode",
    "set_message_id",
]

VERSIONS = ("1.41", "1.42")
"""The minor versions of Flower that this file was checked against."""

NODE_UNAVAILABLE = ErrorCode.NODE_UNAVAILABLE
"""Flower's code of the error that stands for the reply of a node that is gone."""

SERVER_NODE = 1
"""Flower's node id of whoever speaks for the server."""


def identify(run_id: int) -> None:
    """Let this process create messages as the server of run ``run_id``."""
    TaskIdentity.run_id = run_id
    TaskIdentity.node_id = SERVER_NODE
    TaskIdentity.task_id = 1


def set_message_id(message: Message, identifier: str) -> None:
    """Give ``message`` its id, as Flower's own grids do when they push it."""
    message.metadata.__dict__["_message_id"] = identifier


def run_supernode(asks_every: float) -> None:
    """Run Flower's SuperNode by the words of the command line, asking its server more often.

    Args:
        asks_every: seconds between two questions for work; Flower has 3, cut in stone.
    """
    from flwr.supernode import start_client_internal as loop
    from flwr.supernode.cli.flower_supernode import flower_supernode

    setattr(loop, "time", _Clock(asks_every))  # noqa: B010  # a name that is not exported
    flower_supernode()


def import_clientapp() -> None:
    """Import what Flower's process for one message imports."""
    import flwr.supernode.cli.flwr_clientapp
    import flwr.supernode.runtime.run_clientapp  # noqa: F401


def run_clientapp() -> None:
    """Run Flower's process for one message, by the words of the command line."""
    from flwr.supernode.cli.flwr_clientapp import flwr_clientapp

    flwr_clientapp()


class _Clock:
    """Stands for the module ``time`` where only ``sleep`` is used."""

    def __init__(self, most: float) -> None:
        self._most = most

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, self._most))


def empty_run(run_id: int) -> Run:
    """Return the run description that a :class:`flwr.serverapp.Grid` has to hold."""
    return Run.create_empty(run_id)
