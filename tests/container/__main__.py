"""Build the image on a base made on this machine and run it: `python -m tests.container`, as root on Debian or Ubuntu.

It installs what it needs, then runs `checks.py`. That file is not part of the suite, because it needs root, a minute
of building, and the network of Debian's and Python's package registries.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NEEDED = {"buildah": "buildah", "debootstrap": "debootstrap", "docker-compose": "docker-compose"}
"""Programs, and Debian's packages that have them."""
INSTALL_TIMEOUT_S = 600.0
CHECKS = Path(__file__).with_name("checks.py")


def install(packages: list[str]) -> None:
    """Install Debian packages."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
        subprocess.run(
            ["apt-get", *command], check=True, env=environment, stdout=subprocess.DEVNULL, timeout=INSTALL_TIMEOUT_S
        )


def main() -> int:
    """Install what is missing, run the checks, and return the exit code."""
    if os.geteuid() != 0:
        sys.stderr.write("python -m tests.container mounts and changes its root: run it as root.\n")
        return 2
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if missing:
        install(missing)
    return pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--durations=0", str(CHECKS), *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
