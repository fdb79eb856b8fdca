"""Checks a wheel in a fresh environment: does it hold all that a user needs, and does it start?

    python tools/look_into_wheel.py dist/fedsim-0.1.0-py3-none-any.whl

Only the wheel is installed there.  What fedsim depends on is read from the environment that runs
this script, because installing torch again would take minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
SHIPPED = {
    "strategies/*.py": "fedsim/strategies",
    "clients/*.py": "fedsim/clients",
    "scenarios/*.yaml": "fedsim/scenarios",
    "configs/*.yaml": "fedsim/configs",
    "fedsim/edge/templates/*": "fedsim/edge/templates",
    "fedsim/report/templates/*": "fedsim/report/templates",
    "fedsim/py.typed": "fedsim",
}
"""Files of the repository, and the folder of the wheel in which they must be."""


def missing_files(wheel: Path) -> list[str]:
    """Return the files of the repository that users need and ``wheel`` lacks."""
    packed = set(ZipFile(wheel).namelist())
    expected = [
        f"{folder}/{path.name}"
        for pattern, folder in SHIPPED.items()
        for path in sorted(ROOT.glob(pattern))
    ]
    return [name for name in expected if name not in packed]


def installed(wheel: Path, folder: Path) -> Path:
    """Install ``wheel`` alone into a new environment in ``folder``; return its programs' folder."""
    venv.create(folder)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    install = ["--python", str(programs / "python"), "install", "--no-deps", str(wheel)]
    subprocess.run([*pip, *install], check=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    # A .pth file adds the folders alone: an editable fedsim in them is not followed.
    dependencies = [entry for entry in sys.path if entry.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(dependencies), encoding="utf-8")
    return programs


def failed_command(programs: Path, folder: Path) -> str | None:
    """Return the first command that fails in the new environment, with what it wrote."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def outcome(*words: str) -> subprocess.CompletedProcess[str]:
        program = str(programs / words[0])
        command = [program, *words[1:]]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    located = outcome("python", "-c", "import fedsim; print(fedsim.__path__[0])")
    if located.returncode != 0:
        return f"import fedsim: {located.stderr}"
    package = Path(located.stdout.strip())
    if not package.is_relative_to(folder):
        return f"import fedsim: it came from {package}, not from the wheel"
    quickstart = str(package / "scenarios" / "quickstart.yaml")
    for words in (["--version"], ["list", "strategies"], ["check", quickstart]):
        result = outcome("fedsim", *words)
        if result.returncode != 0:
            return f"fedsim {' '.join(words)}: exit code {result.returncode}\n{result.stderr}"
    return None


def main() -> int:
    wheel = Path(sys.argv[1]).resolve()
    if missing := missing_files(wheel):
        print(f"error: {wheel.name} lacks {', '.join(missing)}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        programs = installed(wheel, folder / "environment")
        if (failure := failed_command(programs, folder)) is not None:
            print(f"error: {failure}", file=sys.stderr)
            return 1
    print(f"{wheel.name}: complete, and it starts in a fresh environment")
    return 0


if __name__ == "__main__":
    sys.exit(main())
