"""Where a client stands: its role and domain, as one name beside what it sends."""

from __future__ import annotations

from fedsim.errors import RunError
from fedsim.wire import ClientInfo, Role, Update

__all__ = ["place", "place_of", "split"]


def place(client: ClientInfo) -> str:
    """Return ``role/domain``: the name of the extra in which a client says where it stands."""
    return f"{client.role}/{client.domain}"


def place_of(update: Update, sender: str) -> str:
    """Return the place that ``update`` comes from.

    Args:
        update: one client's.
        sender: the client half that says it.

    Raises:
        RunError: if it does not say.
    """
    for name in update.extras:
        if name.startswith(("source/", "target/")):
            return name
    raise RunError(
        f"client {update.client} does not say its domain: set `local: {{use: {sender}}}`, or a "
        "client half that extends it"
    )


def split(name: str) -> tuple[Role, str]:
    """Return the role and the domain of a place."""
    role, _, domain = name.partition("/")
    return ("target" if role == "target" else "source"), domain
