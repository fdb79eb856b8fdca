"""The help topics that come with every Python, a natural client each: no download.

Licence: that of Python, the PSF licence.  Another version of Python has other texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedsim.data.sources._windows import TextWindows

__all__ = ["PythonTopics"]


@dataclass(frozen=True, kw_only=True)
class PythonTopics(TextWindows):
    """English prose about Python, some 80 topics of 200 to 50,000 characters."""

    def texts(self, folder: Path) -> Sequence[tuple[str, bytes]]:
        """Return each topic's name and text."""
        from pydoc_data.topics import topics

        return [(name, text.encode()) for name, text in sorted(topics.items())]
