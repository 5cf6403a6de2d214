"""The page's files as they are sent: read once, compressed, and each under an address that names its content.

Pure but for reading the folder. A file is sent under its own path, which a browser revalidates, and below a folder
named after all files' content, where it may be cached for ever. The page itself refers to that folder, asks for all its
styles as one file, and names every module that its own ones import, so that a browser need not find them one by one.
"""

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pulse.errors import SettingsError
from pulse.web.routing import COMPRESSED_FROM_BYTES

PAGE_BYTES_MAX = 16 * 1024 * 1024
"""All files of the page together, which are held in memory."""
GZIP_LEVEL = 9  # once for each file, at start
INDEX = "index.html"
STYLES = "styles.css"
"""All style sheets of the page, one after the other."""
VENDORED = "vendor/"
REVALIDATE = "no-cache"  # cached but revalidated on each use, which an ETag makes cheap
IMMUTABLE = "public, max-age=31536000, immutable"  # the address is another one where the content is

_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".html": "text/html", ".css": "text/css",
          ".svg": "image/svg+xml"}  # fmt: skip
_TEXTS = ("text/", "image/svg+xml", "application/json")
_STYLESHEET = re.compile(r'<link rel="stylesheet" href="\./([^"]+)">\n?')
_MODULE = re.compile(r'<(?:script type="module" src|link rel="modulepreload" href)="\./([^"]+)">')
_REFERENCE = re.compile(r'\b(href|src)="\./')
_IMPORT = re.compile(r'^(?:import|export)\b[^;]*? from "(\.{1,2}/[^"]+)";', re.MULTILINE)
_FIRST_MODULE = '<script type="module"'


@dataclass(frozen=True, slots=True)
class Asset:
    """What is sent for one path. `gzipped` is None where compression is not worth it; `tag` is of the plain content."""

    plain: bytes
    gzipped: bytes | None
    media_type: str
    tag: str
    cache_control: str


def read_page(folder: Path) -> dict[str, Asset]:
    """Return what is sent for each path of the page in `folder`. Raises SettingsError."""
    files = dict(_read(folder))
    version = f"v-{_digest(files)}"
    sent = {name: _uncommented(name, content) for name, content in files.items()}
    if INDEX in sent:
        sheets = _STYLESHEET.findall(sent[INDEX].decode())
        sent[STYLES] = b"\n".join(sent[sheet] for sheet in sheets if sheet in sent)
        sent[INDEX] = _page(sent[INDEX].decode(), sent, version).encode()
    assets = {}
    for name, content in sent.items():
        media_type = _TYPES.get(PurePosixPath(name).suffix) or mimetypes.guess_type(name)[0] or "text/plain"
        gzipped = _compressed(content, media_type)
        tag = hashlib.blake2b(content, digest_size=12).hexdigest()
        held = REVALIDATE if not name.startswith(VENDORED) else IMMUTABLE  # a vendored file has its version in its path
        assets[f"/{name}"] = Asset(content, gzipped, media_type, tag, held)
        if name != INDEX:
            assets[f"/{version}/{name}"] = Asset(content, gzipped, media_type, tag, IMMUTABLE)
    if INDEX in sent:
        assets["/"] = assets[f"/{INDEX}"]
    return assets


def _read(folder: Path) -> Iterator[tuple[str, bytes]]:
    total = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        total += path.stat().st_size
        if total > PAGE_BYTES_MAX:
            raise SettingsError(
                f"The page's folder {folder} holds more than {PAGE_BYTES_MAX >> 20} MiB, which are kept in memory. "
                f"Remove from it what is not the page's, or install Pulse again."
            )
        yield path.relative_to(folder).as_posix(), path.read_bytes()


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _uncommented(name: str, content: bytes) -> bytes:
    """Return a module or a style sheet of the page without its whole-line comments.

    They are a third of what would be sent. Each leaves its empty line, so that a browser's line numbers are right.
    """
    if name.startswith(VENDORED) or PurePosixPath(name).suffix not in (".js", ".css"):
        return content
    return "\n".join(_without_comments(content.decode().split("\n"))).encode()


def _without_comments(lines: Iterable[str]) -> Iterator[str]:
    is_within = False
    for line in lines:
        text = line.strip()
        if is_within:
            is_within = "*/" not in text
            yield line.partition("*/")[2]
        elif text.startswith("/*") and text.find("*/") in (-1, len(text) - 2):
            is_within = "*/" not in text
            yield ""
        else:
            yield "" if text.startswith("//") else line


def _page(html: str, files: Mapping[str, bytes], version: str) -> str:
    """Return the page with its references into the versioned folder, its styles as one file, and its modules named."""
    modules = _closure(_MODULE.findall(html), files)
    named = set(_MODULE.findall(html))
    preloads = "".join(f'<link rel="modulepreload" href="./{name}">\n    ' for name in modules if name not in named)
    before, *between = _STYLESHEET.split(html)[::2]  # around the links, whose names are between
    html = "".join([before, f'<link rel="stylesheet" href="./{STYLES}">\n', *between]) if between else html
    html = html.replace(_FIRST_MODULE, preloads + _FIRST_MODULE, 1)
    return _REFERENCE.sub(rf'\1="./{version}/', html)


def _closure(entries: Iterable[str], files: Mapping[str, bytes]) -> list[str]:
    """Return these modules and all that they import, directly or not, in the order in which they are found."""
    found: dict[str, None] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop(0)
        if name in found or name not in files:
            continue
        found[name] = None
        if not name.startswith(VENDORED):
            waiting += [_joined(name, target) for target in _IMPORT.findall(files[name].decode())]
    return list(found)


def _joined(name: str, target: str) -> str:
    parts = list(PurePosixPath(name).parent.parts)
    for part in PurePosixPath(target).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _compressed(content: bytes, media_type: str) -> bytes | None:
    if len(content) < COMPRESSED_FROM_BYTES or not media_type.startswith(_TEXTS):
        return None
    return gzip.compress(content, GZIP_LEVEL, mtime=0)
