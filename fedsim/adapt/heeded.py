"""What every client of domain adaptation tells the server.

A server knows a client's role and domain by itself; no client says them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fedsim.messages import REQUIRED, Message
from fedsim.wire import Weights

__all__ = ["Heeded"]


@dataclass(frozen=True)
class Heeded(Message):
    """From every client of domain adaptation."""

    adapts: Weights = field(default_factory=dict, metadata=REQUIRED)
    """Empty: the client's rule has heeded what the server sent, rather than train as if alone."""
