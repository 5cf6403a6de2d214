"""Runs the image's programs as a container engine does, and as strictly as it can be told to.

The root file system is a read-only bind mount in a mount namespace of the process, with the data's folder mounted over
/data; user and environment are the image's; no capabilities, and no way to gain any.
"""

import os
import subprocess
from pathlib import Path

from tests.container.image import Image
from tests.support.process import Pulse

MOUNTED = """
set -e
mount --bind "$1" "$2" && mount -o remount,bind,ro "$2"
mount --bind "$3" "$2/data"
mount -t proc proc "$2/proc"
mount --rbind /dev "$2/dev"
view=$2
shift 3
exec chroot "$view" "$@"
"""
RUN_TIMEOUT_S = 60.0


def contained(image: Image, folder: Path, user: str, command: list[str], environment: dict[str, str]) -> list[str]:
    """Return the command line that becomes a command of the image; its data is in `folder/data`."""
    data, view = folder / "data", folder / "view"
    if not data.exists():
        data.mkdir()
        data.chmod(0o755)
        uid, gid = map(int, image.config["User"].split(":"))
        os.chown(data, uid, gid)
    view.mkdir(exist_ok=True)
    uid_name, _, gid_name = user.partition(":")
    confined = ["setpriv", f"--reuid={uid_name}", f"--regid={gid_name}", "--clear-groups", "--no-new-privs"]
    confined += ["--bounding-set=-all", "--inh-caps=-all"]
    variables = [f"{name}={value}" for name, value in (image.environment | environment).items()]
    return [
        "unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", MOUNTED, "sh",
        str(image.root), str(view), str(data),
        *confined, "env", "-i", "-C", image.config["WorkingDir"], *variables, *command,
    ]  # fmt: skip


def run_contained(
    image: Image, folder: Path, *command: str, user: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of the image to its end."""
    line = contained(image, folder, user or image.config["User"], list(command), environment)
    return subprocess.run(line, check=False, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)


class ContainedPulse(Pulse):
    """The image's own program, with arguments behind its entrypoint."""

    def __init__(self, image: Image, folder: Path, *arguments: str, **environment: str) -> None:
        super().__init__(folder, *arguments)
        own = {"PORT": str(self.port), "PULSE_REQUESTS_PER_ADDRESS_S": "0"}
        self._line = contained(
            image, folder, image.config["User"], [*image.config["Entrypoint"], *arguments], own | environment
        )

    @property
    def url(self) -> str:
        """Return the base URL for HTTP: the image listens on every address."""
        return f"http://localhost:{self.port}"

    def command(self) -> list[str]:
        """Return the command line."""
        return self._line
