"""An exception as one line that says where in the user's code it was raised."""

from __future__ import annotations

import traceback
from pathlib import Path

from fedsim.worker.time_limit import OutOfTime

__all__ = ["describe_exception"]


def describe_exception(error: BaseException) -> str:
    """Return an error as one line that names the deepest place in code that is not a library's.

    >>> blame(ValueError("boom"))
    'ValueError: boom'
    """
    if isinstance(error, OutOfTime):
        return str(error)
    user_frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and "fedsim/flower/" not in frame.filename
    ]
    place = (
        f" ({Path(user_frames[-1].filename).name}:{user_frames[-1].lineno})" if user_frames else ""
    )
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"
