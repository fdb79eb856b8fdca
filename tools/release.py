"""Makes a release: the version in its one place, a commit and a tag; nothing is pushed.

    python tools/release.py 0.2.0            # after `make check`
    python tools/release.py 0.2.0 --dry-run  # say what would be done

The version stands in pyproject.toml; CITATION.cff repeats it, and all else asks the installed
package.  CHANGELOG.md must have a heading for the version.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = {"pyproject.toml": r'^version = ".*"$', "CITATION.cff": r"^version: .*$"}
TEXTS = {"pyproject.toml": 'version = "{}"', "CITATION.cff": "version: {}"}


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def faults(version: str) -> list[str]:
    """Return what keeps ``version`` from being released."""
    found = []
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        found.append(f"{version} is no version: three numbers are expected, such as 0.2.0")
    if git("status", "--porcelain"):
        found.append("there are changes that are not committed")
    if f"v{version}" in git("tag", "--list").split():
        found.append(f"the tag v{version} is there already")
    if f"## [{version}]" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        found.append(f"CHANGELOG.md has no heading ## [{version}]")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    options = parser.parse_args()
    if wrong := faults(options.version):
        print("\n".join(f"error: {fault}" for fault in wrong), file=sys.stderr)
        return 2
    for name, pattern in PLACES.items():
        print(f"{name}: {TEXTS[name].format(options.version)}")
        if not options.dry_run:
            path = ROOT / name
            text = path.read_text(encoding="utf-8")
            line = TEXTS[name].format(options.version)
            path.write_text(re.sub(pattern, line, text, count=1, flags=re.M), encoding="utf-8")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    print(f"commit and tag v{options.version}, {today}")
    if not options.dry_run:
        git("commit", "--quiet", "--all", "--message", f"Release {options.version}")
        git("tag", "--annotate", f"v{options.version}", "--message", f"Version {options.version}")
        print("next: git push --follow-tags, then the wheel of `make wheel`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
