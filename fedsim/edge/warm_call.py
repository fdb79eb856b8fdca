"""Passes its words to the warm process; run alone, so that it starts in milliseconds."""

import json
import os
import socket
import sys

__all__ = ["call"]

_SECONDS = 120


def call(words: list[str]) -> bool:
    """Return whether the warm process took over."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_SECONDS)
            line.connect(os.environ["FEDSIM_WARM"])
            line.sendall(json.dumps(words).encode() + b"\n")
            return line.recv(8) == b"ok\n"
    except (OSError, KeyError):
        return False


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    if not call(words):
        os.execv(command, [command, *words])
