"""Keeping Flower's tokens out of ``ps``.

Flower starts a process for every message, with a token for the device's own loopback port on its
command line, which every user of the machine can read.  A small script of the same name stands
before the real command on the search path; it puts the token in a private file and passes that.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from fedsim.edge.commands import program
from fedsim.edge.pki import make_folder

__all__ = ["shims"]

_COMMANDS = ("flwr-clientapp", "flwr-serverapp")
_BEFORE = {
    "flwr-clientapp": (sys.executable, "-I", "-S", str(Path(__file__).with_name("warm_call.py")))
}
"""What is asked first: the process that has imported everything (``warm.py``)."""
_SCRIPT = """\
#!/bin/sh
# Passes the token of `--token TOKEN` in a file that only its owner can read.
umask 077
find {folder} -name 'token.*' -mmin +10 -delete 2>/dev/null
count=$#
file={folder}/token.$$
while [ "$count" -gt 0 ]; do
    word=$1
    shift
    count=$((count - 1))
    if [ "$word" = --token ]; then
        printf %s "$1" > "$file"
        set -- "$@" --token-file "$file"
        shift
        count=$((count - 1))
    else
        set -- "$@" "$word"
    fi
done
exec {command} "$@"
"""


def shims(folder: Path) -> Path:
    """Make the scripts under ``folder`` and return where they are: for the front of ``PATH``."""
    place = make_folder(folder / "programs")
    for old in place.glob("token.*"):
        old.unlink(missing_ok=True)
    for name in _COMMANDS:
        script = place / name
        command = shlex.join([*_BEFORE.get(name, ()), program(name)])
        text = _SCRIPT.format(folder=shlex.quote(str(place)), command=command)
        fresh = place / f"{name}.new"
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(0o700)
        os.replace(fresh, script)
    return place
