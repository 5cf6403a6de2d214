"""Fetches third-party browser files by exact version and writes them, their licences and `manifest.json` here.

For a developer with npm at hand: edit PACKAGES, run `python static/vendor/update.py`, read the diff. It checks every
tarball against the digest written below before it opens it; it knows nothing of the page that uses the files.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

VENDOR = Path(__file__).resolve().parent
NPM_TIMEOUT_S = 120

# The chart's licence asks for this notice, which its package does not carry. The letter in brackets is Cyrillic there.
CHARTS_NOTICE = """\
TradingView Lightweight Charts\u2122
Copyright (\u0441) 2025 TradingView, Inc. https://www.tradingview.com/
"""

# The chart's standalone file contains fancy-canvas, whose package carries no licence text either.
FANCY_CANVAS_LICENSE = """\
Copyright (c) 2019 TradingView, Inc

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


@dataclass(frozen=True)
class Package:
    """One npm package: what to take from its tarball (name there, name here) and which texts to write beside it."""

    name: str
    version: str
    integrity: str  # npm's own notation of the tarball's SHA-512; a changed tarball stops the update
    licence: str
    take: dict[str, str]
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder's name carries the version, so that a browser may keep its files for ever."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


PACKAGES = [
    Package(
        name="lightweight-charts",
        version="5.2.1",
        integrity="sha512-IVwoK1RLFiLPubaKIjNbtjWLnpPMqiABSrTay6whmNa8L1+19292VtHJ+BWyPUuLCwF0tcQlhEWd1CLB2a1nsQ==",
        licence="Apache-2.0",
        take={
            "dist/lightweight-charts.standalone.production.mjs": "lightweight-charts.standalone.production.mjs",
            "LICENSE": "LICENSE",
        },
        texts={"NOTICE": CHARTS_NOTICE, "LICENSE-fancy-canvas": FANCY_CANVAS_LICENSE},
    ),
    Package(
        name="@preact/signals-core",
        version="1.14.5",
        integrity="sha512-vcRv7Ityz5JVmeiVqIluLFzT/PDS/AlhHUpw3/aUWqcVUs6bDGIPXE/6RSC4evBNWYvnniozg5Syfj33al3gkg==",
        licence="MIT",
        take={
            "dist/signals-core.mjs": "signals-core.mjs",
            "dist/signals-core.d.ts": "signals-core.d.mts",
            "LICENSE": "LICENSE",
        },
    ),
]


def main() -> int:
    """Write every file again; a second run changes nothing. Return 1, after a sentence, if something went wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            entries = [vendored(package, Path(scratch)) for package in PACKAGES]
        except (OSError, KeyError, ValueError, subprocess.SubprocessError) as trouble:
            sys.stderr.write(f"update.py: {trouble}\n")
            return 1
    text = json.dumps({"packages": entries}, indent=2, ensure_ascii=False)
    (VENDOR / "manifest.json").write_text(text + "\n", encoding="utf-8")
    return 0


def vendored(package: Package, scratch: Path) -> dict[str, object]:
    """Write one package's folder and return its manifest entry."""
    tarball = packed(package, scratch)
    digest = hashlib.sha512(tarball.read_bytes()).digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != package.integrity:
        raise ValueError(f"the tarball of {package.folder} is not the one written in PACKAGES")
    folder = VENDOR / package.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in contents(package, tarball).items():
        (folder / name).write_bytes(content)
    return {
        "name": package.name,
        "version": package.version,
        "licence": package.licence,
        "tarball_sha512": digest.hex(),
        "folder": package.folder,
        "files": {path.name: sha256(path) for path in sorted(folder.iterdir())},
    }


def packed(package: Package, scratch: Path) -> Path:
    """Fetch the package's tarball by npm, from the registry it is configured for; no script of it is run."""
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("npm is not installed: install Node.js with npm, or leave the vendored files as they are")
    command = [npm, "pack", f"{package.name}@{package.version}", "--silent", "--ignore-scripts"]
    result = subprocess.run(command, cwd=scratch, check=True, capture_output=True, text=True, timeout=NPM_TIMEOUT_S)  # noqa: S603 - a fixed command
    return scratch / result.stdout.split()[-1]


def contents(package: Package, tarball: Path) -> dict[str, bytes]:
    """Return the content of each file by its name here: what the package takes, and the texts it adds."""
    taken = {name: text.encode() for name, text in package.texts.items()}
    with tarfile.open(tarball) as archive:
        for source, name in package.take.items():
            member = archive.extractfile(f"package/{source}")
            if member is None:
                raise ValueError(f"{package.folder} has no file {source}")
            taken[name] = member.read()
    return taken


def sha256(path: Path) -> str:
    """Return the file's checksum in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
