"""``python -m fedsim`` is ``fedsim``."""

from __future__ import annotations

import sys

from fedsim.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
