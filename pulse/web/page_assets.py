"""The page's files as they are sent: read once, compressed, and each under an address that names its content.

Pure but for reading the folder. A file is sent under its own path, which a browser revalidates, and below a folder
named after all files' content, where it may be cached for ever. The page itself refers to that folder, where its styles
are one file and the modules that it needs at first another.
"""

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pulse.errors import SettingsError
from pulse.web.page_modules import JOINED, joined
from pulse.web.routing import COMPRESSED_FROM_BYTES

PAGE_BYTES_MAX = 16 * 1024 * 1024
"""All files of the page together, which are held in memory."""
GZIP_LEVEL = 9  # once for each file, at start
INDEX = "index.html"
STYLES = "styles.css"
"""All style sheets of the page, one after the other."""
VENDORED = "vendor/"
CONFIG = "config.js"
"""Not a module: a static host replaces it."""
REVALIDATE = "no-cache"  # cached but revalidated on each use, which an ETag makes cheap
IMMUTABLE = "public, max-age=31536000, immutable"  # the address is another one where the content is

PAGE_SUFFIXES = (".html", ".js", ".mjs", ".css", ".svg", ".png")
LICENCES = ("LICENSE", "NOTICE")
"""How the names of vendored libraries' licences begin, which must come with the libraries."""

_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".html": "text/html", ".css": "text/css",
          ".svg": "image/svg+xml"}  # fmt: skip
_TEXTS = ("text/", "image/svg+xml", "application/json")
_STYLESHEET = re.compile(r'<link rel="stylesheet" href="\./([^"]+)">\n?')
_PRELOAD = re.compile(r'[ \t]*<link rel="modulepreload" href="\./([^"]+)"( media="[^"]*")?>\n?')
_SCRIPT = re.compile(r'<script type="module" src="\./([^"]+)">')
_REFERENCE = re.compile(r'\b(href|src)="\./')


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
    plain = {name: _uncommented(name, content) for name, content in files.items()}
    versioned = {name: content for name, content in plain.items() if name != INDEX}
    if INDEX in plain:
        html = plain[INDEX].decode()
        versioned |= {STYLES: b"\n".join(plain[sheet] for sheet in _STYLESHEET.findall(html) if sheet in plain)}
        html = _with_modules(_with_styles(html), versioned)
        plain[INDEX] = _REFERENCE.sub(rf'\1="./{version}/', html).encode()
    # A vendored file has its version in its path.
    assets = {
        f"/{name}": _asset(name, content, IMMUTABLE if name.startswith(VENDORED) else REVALIDATE)
        for name, content in plain.items()
    }
    assets |= {f"/{version}/{name}": _asset(name, content, IMMUTABLE) for name, content in versioned.items()}
    if INDEX in plain:
        assets["/"] = assets[f"/{INDEX}"]
    return assets


def _asset(name: str, content: bytes, cache_control: str) -> Asset:
    media_type = _TYPES.get(PurePosixPath(name).suffix) or mimetypes.guess_type(name)[0] or "text/plain"
    tag = hashlib.blake2b(content, digest_size=12).hexdigest()
    return Asset(content, _compressed(content, media_type), media_type, tag, cache_control)


def _read(folder: Path) -> Iterator[tuple[str, bytes]]:
    total = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or not _is_page_file(path):
            continue
        total += path.stat().st_size
        if total > PAGE_BYTES_MAX:
            raise SettingsError(
                f"The page's folder {folder} holds more than {PAGE_BYTES_MAX >> 20} MiB, which are kept in memory. "
                f"Remove from it what is not the page's, or install Pulse again."
            )
        yield path.relative_to(folder).as_posix(), path.read_bytes()


def _is_page_file(path: Path) -> bool:
    """Return whether a file is the page's: what maintains the folder's files lies beside them."""
    return path.suffix in PAGE_SUFFIXES or path.name.startswith(LICENCES)


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


def _with_styles(html: str) -> str:
    """Return the page with one style sheet in place of all of them."""
    before, *between = _STYLESHEET.split(html)[::2]  # around the links, whose names are between
    return "".join([before, f'<link rel="stylesheet" href="./{STYLES}">\n', *between]) if between else html


def _with_modules(html: str, files: dict[str, bytes]) -> str:
    """Return the page with one module in place of those that it needs at first, and join them in `files`."""
    scripts, preloads = _SCRIPT.findall(html), dict(_PRELOAD.findall(html))
    own = {name: content.decode() for name, content in files.items() if _is_own_module(name)}
    entries = [name for name in [*preloads, *scripts] if name in own]
    if not entries:
        return html
    modules = joined(entries, own)
    for name in own.keys() - modules.keys():
        del files[name]  # it is part of the joined one, and must not run twice
    files |= {name: text.encode() for name, text in modules.items()}
    vendored = [name for name in re.findall(r'^import .* from "\./([^"]+)";', modules[JOINED], re.M) if name in files]
    named = {name: media for name, media in preloads.items() if name not in own} | dict.fromkeys(vendored, "")
    links = "".join(f'<link rel="modulepreload" href="./{name}"{media}>\n    ' for name, media in named.items())
    return _SCRIPT.sub(f'{links}<script type="module" src="./{JOINED}">', _PRELOAD.sub("", html), count=1)


def _is_own_module(name: str) -> bool:
    return name.endswith(".js") and not name.startswith(VENDORED) and name != CONFIG


def _compressed(content: bytes, media_type: str) -> bytes | None:
    if len(content) < COMPRESSED_FROM_BYTES or not media_type.startswith(_TEXTS):
        return None
    return gzip.compress(content, GZIP_LEVEL, mtime=0)
