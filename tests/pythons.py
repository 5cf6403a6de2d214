"""Run the suite with other versions of Python: `python -m tests.pythons [--python 3.13 ...] [-- PYTEST ARGUMENTS]`.

By default with 3.11 and 3.13. An interpreter is found as `python3.13` in PATH or among those of pyenv; each gets an
environment of its own with the packages of requirements-test.lock, which is deleted at the end. The public workflow
runs all of `.ci/run` with each version that is supported.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEFAULT = ("3.11", "3.13")
EXIT_MISSING = 2


def interpreter(version: str) -> Path | None:
    """Return the interpreter of a version such as 3.13 or 3.13.0; None if there is none."""
    minor = ".".join(version.split(".")[:2])
    in_path = shutil.which(f"python{minor}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [*sorted(pyenv.glob(f"{minor}*/bin/python{minor}"), reverse=True), *([Path(in_path)] if in_path else [])]
    return next((path for path in found if version_of(path).startswith(version)), None)


def version_of(python: Path) -> str:
    """Return an interpreter's version; an empty text if it does not run."""
    done = subprocess.run(
        [python, "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def run_suite(python: Path, arguments: list[str]) -> int:
    """Install the locked packages beside an interpreter, run the suite, and return pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="pulse-python-") as folder:
        own = f"{folder}/bin/python"
        install = [own, "-m", "pip", "install", "-q", "--require-hashes", "-r", str(ROOT / "requirements-test.lock")]
        subprocess.run([python, "-m", "venv", folder], check=True)
        subprocess.run(install, check=True)
        suite = [own, "-m", "pytest", "-n", "logical", "--maxprocesses", "4", "--dist", "loadfile", *arguments]
        return subprocess.run(suite, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode


def main() -> int:
    """Run the suite once for each version, print the outcomes, and return 0 if all passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.pythons", description=__doc__)
    parser.add_argument("--python", nargs="+", default=DEFAULT, metavar="VERSION", help="such as 3.11 3.13.0")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="for pytest, behind --")
    options = parser.parse_args()
    pythons = {version: interpreter(version) for version in options.python}
    missing = [version for version, python in pythons.items() if python is None]
    if missing:
        sys.stderr.write(f"No Python {', '.join(missing)} in PATH or among pyenv's: install it, or leave it out.\n")
        return EXIT_MISSING
    codes = {
        version_of(python): run_suite(python, options.arguments) for python in pythons.values() if python is not None
    }
    for version, code in codes.items():
        sys.stdout.write(f"Python {version}: {'passed' if code == 0 else f'failed, pytest exited with {code}'}\n")
    return max(codes.values())


if __name__ == "__main__":
    sys.exit(main())
