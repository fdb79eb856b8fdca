"""What clients of domain adaptation send: the names of their extras, in one place for both sides.

A server knows a client's role and domain by itself; no client says them.
"""

from __future__ import annotations

__all__ = ["ADAPTS", "CLASS_SUMS", "GLS", "MOMENTS"]

ADAPTS = "adapts"
"""Empty: the client's rule has heeded what the server sent, rather than train as if alone."""
GLS = "gls"
"""A source's ``confusion`` sum, or a target's sum of predictions, ``prediction``."""
MOMENTS = "moments"
"""Class moments of JDME, packed; or an answer of its search."""
CLASS_SUMS = "class-sums"
"""Sums of features by class, and ``counts``: DMPN's prototypes before they are means."""
