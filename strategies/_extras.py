"""What a strategy needs of an update beyond the delta, or a line saying who would send it."""

from __future__ import annotations

from fedsim.errors import RunError
from fedsim.wire import Update, Weights

__all__ = ["extra"]


def extra(update: Update, name: str, sender: str) -> Weights:
    """Return the extra called ``name``.

    Args:
        update: one client's.
        name: of the extra.
        sender: the client half that sends it.

    Raises:
        RunError: if it is not there.
    """
    if name not in update.extras:
        raise RunError(
            f"client {update.client} sent no {name!r}: set `local: {{use: {sender}}}`, "
            f"or a client half that extends it"
        )
    return update.extras[name]
