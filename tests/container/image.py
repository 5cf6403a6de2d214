"""Builds the image with Buildah, in a storage of its own, on a base like Debian's slim images made by debootstrap.

Neither a Docker daemon nor an image registry is needed. The packages come from where this machine's apt and pip take
theirs.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RELEASE = "bookworm"
"""The release of the default base in the Dockerfile, so that what is checked is what ships."""
BASE, IMAGE = "localhost/pulse-base", "localhost/pulse-terminal"
STEP_TIMEOUT_S = 900.0

# What Debian's slim images leave out, as documents but for licences, now and of packages that are installed later.
LEFT_OUT = ("groff", "info", "lintian", "linda", "locale", "man")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
"""Settings of this machine's pip that reach its registry from the build, too; folders of this machine do not."""


def run(*command: str | Path, timeout_s: float = STEP_TIMEOUT_S, cwd: Path = ROOT) -> str:
    """Run a command and return what it writes to stdout. Raises RuntimeError with all that a failed one wrote."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, check=False, capture_output=True, text=True, timeout=timeout_s
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} exited with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


@dataclass(frozen=True)
class Image:
    """A built image: its configuration as Docker reads it, its files, and its size with and without compression."""

    config: Mapping[str, Any]
    root: Path
    size_bytes: int
    compressed_bytes: int

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment that the image sets."""
        return dict(entry.split("=", 1) for entry in self.config["Env"])


class Builder:
    """Buildah with a storage of its own in a folder, which may be deleted when nothing of it runs any more."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._storage = ["--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "vfs"]

    def buildah(self, *arguments: str | Path) -> str:
        """Run a command of Buildah."""
        return run(*self.command(*arguments)).strip()

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the command line of a command of Buildah."""
        return ["buildah", *(str(part) for part in (*self._storage, *arguments))]

    def make_base(self) -> None:
        """Make the base image."""
        root = self._folder / "base"
        run("debootstrap", "--variant=minbase", RELEASE, root, *_mirror())
        rules = [f"path-exclude /usr/share/{name}/*\n" for name in ("doc", *LEFT_OUT)]
        (root / "etc/dpkg/dpkg.cfg.d/slim").write_text("".join(rules) + "path-include /usr/share/doc/*/copyright\n")
        for file in (root / "usr/share/doc").rglob("*"):
            if file.name != "copyright" and not file.is_dir():
                file.unlink()
        for emptied in (*(f"usr/share/{name}" for name in LEFT_OUT), "var/cache/apt", "var/lib/apt/lists", "var/log"):
            shutil.rmtree(root / emptied, ignore_errors=True)
            (root / emptied).mkdir(parents=True)
        with tarfile.open(self._folder / "base.tar", "w") as archive:
            archive.add(root, arcname=".")
        shutil.rmtree(root)
        container = self.buildah("from", "scratch")
        self.buildah("add", container, self._folder / "base.tar", "/")
        self.buildah("config", "--cmd", "bash", container)
        self.buildah("commit", "--rm", "--format", "docker", container, BASE)
        (self._folder / "base.tar").unlink()

    def build(self) -> Image:
        """Build the image of this checkout and unpack it."""
        (self._folder / "pip.conf").write_text(pip_config(run(sys.executable, "-m", "pip", "config", "list")))
        secrets = ["--secret", f"id=pip_config,src={self._folder / 'pip.conf'}"]
        if CA_BUNDLE.exists():
            secrets += ["--secret", f"id=ca_bundle,src={CA_BUNDLE}"]
        self.buildah(
            "bud", "--jobs", "1", "--isolation", "chroot", "--format", "docker",
            "--build-arg", f"BASE={BASE}", *secrets, "-t", IMAGE, ".",
        )  # fmt: skip
        config = json.loads(self.buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
        self.buildah("push", "-q", IMAGE, f"dir:{self._folder / 'pushed'}")
        compressed_bytes = sum(file.stat().st_size for file in (self._folder / "pushed").iterdir())
        shutil.rmtree(self._folder / "pushed")
        root = Path(self.buildah("mount", self.buildah("from", IMAGE)))
        return Image(config, root, _size_of(root), compressed_bytes)


def pip_config(listing: str) -> str:
    """Return a pip.conf for the build from what `pip config list` prints: later lines stand over earlier ones."""
    found = dict(re.findall(r"^[^\n]*?\.([\w-]+)='(.*)'$", listing, re.MULTILINE))
    lines = ["[global]", *(["cert = /run/secrets/ca_bundle"] if CA_BUNDLE.exists() else [])]
    for option in PIP_OPTIONS:
        values = [value for value in found.get(option, "").split() if not value.startswith("file:")]
        lines += [f"{option} = {' '.join(values)}"] if values else []
    return "\n".join(lines) + "\n"


def _mirror() -> list[str]:
    """Return the mirror that this machine's apt uses for the release; none, and so Debian's own, if it uses none."""
    wanted = ["Created-By: Packages", f"Codename: {RELEASE}", "Origin: Debian"]
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted],
        check=False, capture_output=True, text=True, timeout=STEP_TIMEOUT_S,
    )  # fmt: skip
    return [address for address in targets.stdout.split() if address.startswith("http")][:1]


def _size_of(root: Path) -> int:
    """Return the size of all files, those with several names once."""
    stats = {}
    for folder, _, names in os.walk(root):
        for name in names:
            stat = os.lstat(os.path.join(folder, name))
            stats[stat.st_dev, stat.st_ino] = stat.st_size
    return sum(stats.values())
