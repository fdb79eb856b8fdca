"""Makes a release: sets the version, runs `make check`, commits and tags; nothing is pushed.

    make release VERSION=0.2.0
    python tools/release.py 0.2.0 --dry-run  # say what would be done, and change nothing

The version stands in pyproject.toml, and code asks the installed package for it.  CITATION.cff
repeats it, because those who read that file read nothing else.  CHANGELOG.md must have a heading
with the version and a date.  Where `make check` fails, both files are put back as they were.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION_LINES = {
    "pyproject.toml": (r'^version = ".*"$', 'version = "{}"'),
    "CITATION.cff": (r"^version: .*$", "version: {}"),
}
"""How a file's line with the version is recognised, and how it is written."""


def git(*words: str) -> str:
    result = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def faults(version: str) -> list[str]:
    """Return what keeps ``version`` from being released."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        return [f"{version} is not a version: three numbers are expected, such as 0.2.0"]
    reasons = []
    current = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    if numbers(version) < numbers(current):
        reasons.append(f"{version} is older than {current}, the version in pyproject.toml")
    if git("status", "--porcelain"):
        reasons.append("there are changes that are not committed")
    if f"v{version}" in git("tag", "--list").split():
        reasons.append(f"the tag v{version} is there already")
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    if not re.search(heading, text_of("CHANGELOG.md"), re.M):
        reasons.append(f"CHANGELOG.md has no heading ## [{version}] - YEAR-MONTH-DAY")
    return reasons


def set_version(version: str) -> None:
    for name, (pattern, line) in VERSION_LINES.items():
        text = re.sub(pattern, line.format(version), text_of(name), count=1, flags=re.M)
        (ROOT / name).write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    options = parser.parse_args()
    version, tag = options.version, f"v{options.version}"
    if reasons := faults(version):
        print("\n".join(f"error: {reason}" for reason in reasons), file=sys.stderr)
        return 2
    if options.dry_run:
        print(f"would set {version} in {' and '.join(VERSION_LINES)}, run make check, tag {tag}")
        return 0
    set_version(version)
    if subprocess.run(["make", "check"], cwd=ROOT).returncode != 0:
        git("checkout", "--", *VERSION_LINES)
        print("error: make check failed; nothing was committed", file=sys.stderr)
        return 1
    # The version may stand there already, as for the first release: then the commit is empty.
    git("commit", "--quiet", "--allow-empty", "--message", f"Release {version}", *VERSION_LINES)
    git("tag", "--annotate", tag, "--message", f"Version {version}")
    print(f"committed and tagged {tag}; next: git push --follow-tags, then the wheel in dist/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
