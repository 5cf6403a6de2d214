"""Build the image on a base made on this machine and run it: `python -m tests.container`, as root on Debian or Ubuntu.

It installs what it needs, then runs `checks_files.py` and `checks.py`. They are not part of the suite, because they
need root, a minute of building, and the network of Debian's and Python's package registries.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NEEDED = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "docker-compose": "docker-compose",
    "systemd-analyze": "systemd",
}
"""Programs, and Debian's packages that have them."""
INSTALL_TIMEOUT_S = 600.0
CHECKS = [str(Path(__file__).with_name(name)) for name in ("checks_files.py", "checks.py")]
IN_MEMORY = 'mount -t tmpfs -o size=3g tmpfs "$0" && exec "$@"'
"""The storage is written and deleted again at once, with thousands of small flushes: no disk is needed for that."""
MEMORY_NEEDED_BYTES = 4 * 10**9


def install(packages: list[str]) -> None:
    """Install Debian packages."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
        subprocess.run(
            ["apt-get", *command], check=True, env=environment, stdout=subprocess.DEVNULL, timeout=INSTALL_TIMEOUT_S
        )


def main() -> int:
    """Install what is missing, run the checks in a mount namespace of their own, and return the exit code."""
    if os.geteuid() != 0:
        sys.stderr.write("python -m tests.container mounts and changes its root: run it as root.\n")
        return 2
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if missing:
        install(missing)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--durations=10"]
    command += [*CHECKS, *sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="pulse-container-") as folder:
        if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") > MEMORY_NEEDED_BYTES:
            command = ["sh", "-c", IN_MEMORY, folder, *command]
        command = ["unshare", "--mount", "--propagation", "private", *command]
        return subprocess.run(command, check=False, env={**os.environ, "TMPDIR": folder}).returncode


if __name__ == "__main__":
    sys.exit(main())
