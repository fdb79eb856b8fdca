"""Every touch of Flower's private names, in one file; ``tests/flower/test_private.py`` guards it.

Holds for Flower 1.41 and 1.42.  Two things have no public way yet: a process that creates
messages needs an identity, and a message in flight needs an id.
"""

from __future__ import annotations

from flwr.app import Message
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = ["SERVER_NODE", "VERSIONS", "Run", "empty_run", "identify", "set_message_id"]

VERSIONS = ("1.41", "1.42")
"""The minor versions of Flower that this file was checked against."""

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


def empty_run(run_id: int) -> Run:
    """Return the run description that a :class:`flwr.serverapp.Grid` has to hold."""
    return Run.create_empty(run_id)
