"""Messages that a device was sent, and that may have been lost on the way.

Flower's server hands a message out once: where its answer is lost in the network, the device asks
again and is told that there is nothing, and the round waits for it in vain.  A device that got a
message asks for what belongs to it next.  So one that asks for messages twice in a row has not
got the first answer, and is given it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PULL", "Deliveries"]

PULL = "/v1/fleet/pull-messages"
_OF_NO_MESSAGE = frozenset(
    f"/v1/fleet/{verb}" for verb in ("send-node-heartbeat", "activate-node", "deactivate-node")
)


@dataclass
class Deliveries:
    """What is on its way to each node."""

    repeated: int = 0
    """How many messages were given again."""
    _sent: dict[str, bytes] = field(default_factory=dict)

    def asked(self, node: str, path: str) -> None:
        """Note that ``node`` asked for ``path``, which may show that it has got its message."""
        if path != PULL and path not in _OF_NO_MESSAGE:
            self._sent.pop(node, None)

    def answer(self, node: str, body: bytes) -> bytes:
        """Return what to answer to PULL, where Flower's server says ``found``: empty is nothing."""
        if body:
            self._sent[node] = body
        elif node in self._sent:
            self.repeated += 1
        return self._sent.get(node, b"")
