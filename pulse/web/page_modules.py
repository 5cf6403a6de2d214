"""The page's modules joined into one, so that a browser asks once for what it needs at first. Pure: texts in and out.

Each module becomes a function that returns what the module exports, in the order in which they import each other.
Modules that are loaded later import the joined ones from there, so that each module exists once. It understands the
form in which the page's modules are written, and refuses any other.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from pulse.errors import SettingsError

JOINED = "page.js"

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.{1,2}/[^"]+)";$', re.MULTILINE)
_LATE_IMPORT = re.compile(r'\bimport\("(\.{1,2}/[^"]+)"\)')
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_NOTHING = re.compile(r"^export \{\};$", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_OWN_ADDRESS = "import.meta.url"


def joined(entries: Iterable[str], files: Mapping[str, str]) -> dict[str, str]:
    """Return the modules as they are sent: the joined one, and those that are loaded later.

    `entries` are run in this order, each after what it imports. `files` are the texts of all of the page's own modules
    by path; an import of any other file stays one. Raises SettingsError.
    """
    order = _order(entries, files)
    names = {path: f"m{at}" for at, path in enumerate(order)}
    others = sorted({target for path in order for target in _targets(path, files[path])} - files.keys())
    outside = {path: f"v{at}" for at, path in enumerate(others)}
    heads = [f'import * as {name} from "./{path}";' for path, name in outside.items()]
    parts = [_function(path, files[path], names, outside) for path in order]
    tail = f"export {{ {', '.join(names.values())} }};\n"
    sent = {JOINED: "\n".join([*heads, *parts, tail])}
    return sent | {path: _late(path, text, names) for path, text in files.items() if path not in names}


def _order(entries: Iterable[str], files: Mapping[str, str]) -> list[str]:
    """Return the modules that are imported, each after those that it imports. A module is run once."""
    order: dict[str, None] = {}
    open_ones: list[str] = []

    def add(path: str) -> None:
        if path in open_ones:
            raise SettingsError(f"The page's modules import each other in a circle: {' -> '.join([*open_ones, path])}.")
        if path in order or path not in files:
            return
        open_ones.append(path)
        for target in _targets(path, files[path]):
            add(target)
        open_ones.pop()
        order[path] = None

    for entry in entries:
        add(entry)
    return list(order)


def _targets(path: str, text: str) -> list[str]:
    return [_resolved(path, target) for _, target in _IMPORT.findall(text)]


def _function(path: str, text: str, names: Mapping[str, str], outside: Mapping[str, str]) -> str:
    """Return the module as a constant: a function that has been called, and has returned what is exported."""
    exported = _EXPORT.findall(text)

    def bound(found: re.Match[str]) -> str:
        target = _resolved(path, found[2])
        return f"const {{{_bindings(found[1])}}} = {names.get(target) or outside[target]};"

    def late(found: re.Match[str]) -> str:
        target = _resolved(path, found[1])
        return f"Promise.resolve({names[target]})" if target in names else f'import("./{target}")'

    text = _EXPORT.sub("", _NOTHING.sub("", _IMPORT.sub(bound, text)))
    _check(path, text)
    text = _LATE_IMPORT.sub(late, text).replace(_OWN_ADDRESS, f'new URL("./{path}", {_OWN_ADDRESS}).href')
    return f"const {names[path]} = (() => {{\n{text}\nreturn {{ {', '.join(exported)} }};\n}})();"


def _late(path: str, text: str, names: Mapping[str, str]) -> str:
    """Return a module that is loaded later: what has been joined it takes from there."""
    home = "../" * (len(PurePosixPath(path).parts) - 1) or "./"
    needed: dict[str, None] = {}

    def bound(found: re.Match[str]) -> str:
        name = names.get(_resolved(path, found[2]))
        if name is None:
            return found[0]
        needed[name] = None
        return f"const {{{_bindings(found[1])}}} = {name};"

    text = _IMPORT.sub(bound, text)
    return f'import {{ {", ".join(needed)} }} from "{home}{JOINED}";\n{text}' if needed else text


def _bindings(names: str) -> str:
    """Return the names of an import as those of a destructuring."""
    return re.sub(r"(\w+) as (\w+)", r"\1: \2", names)


def _check(path: str, text: str) -> None:
    for other in _OTHER.finditer(text):
        if not _LATE_IMPORT.match(other[0]):
            raise SettingsError(f"The page's module {path} has {other[0]!r}, which is no import or export by name.")


def _resolved(path: str, target: str) -> str:
    parts = list(PurePosixPath(path).parent.parts)
    for part in PurePosixPath(target).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
