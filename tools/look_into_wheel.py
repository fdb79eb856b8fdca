"""Looks at an installed wheel: is all of fedsim in it, and does it start?"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

NEEDED = (
    "strategies/fedavg.py",
    "clients/sgd.py",
    "scenarios/quickstart.yaml",
    "report/templates/report.html.j2",
    "py.typed",
)


def main() -> int:
    folder = Path(sys.argv[1]).resolve()
    package = Path(importlib.import_module("fedsim").__file__).parent
    if package != folder / "fedsim":
        print(f"error: fedsim is imported from {package}, not from {folder}", file=sys.stderr)
        return 1
    if missing := [name for name in NEEDED if not (package / name).is_file()]:
        print(f"error: the wheel lacks {', '.join(missing)}", file=sys.stderr)
        return 1
    quickstart = str(package / "scenarios" / "quickstart.yaml")
    for words in (["--version"], ["list", "strategies"], ["check", quickstart]):
        command = [sys.executable, "-m", "fedsim", "-q", *words]
        if (code := subprocess.run(command, stdout=subprocess.DEVNULL).returncode) != 0:
            print(f"error: fedsim {' '.join(words)} ended with {code}", file=sys.stderr)
            return 1
    print(f"{package}: all is there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
