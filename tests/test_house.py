"""The house itself: which way imports point, who may know which library, and what every file must have."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from pulse.settings import Settings, environment_name

ROOT = Path(__file__).parent.parent
PULSE = ROOT / "pulse"
MODULES = sorted(path for path in PULSE.rglob("*.py") if path.name != "__init__.py")

FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "logs",
        "stats",
        "backoff",
        "conflate",
        "clock",
        "framing",
        "client",
        "slices",
        "comeback",
        "offset",
        "roster",
        "garbage",
    ),
    ("settings", "market", "window", "tradelog", "latency"),
    ("topics", "wire"),
    ("streams",),
    ("binance", "store", "bus", "hub", "simulator", "admission", "problems", "outlet", "spool", "connection"),
    ("intake", "recording", "query", "audience", "bars", "hardening", "door"),
    ("repair", "subscriptions"),
    (
        "feed",
        "replay",
        "catalogue",
        "engine",
        "publisher",
        "subscriber",
        "ledger",
        "retention",
        "running",
        "backfill",
        "timekeeper",
        "session",
        "server",
        "site",
        "ohlcv",
        "udf",
    ),
    ("openapi", "events", "following", "answers"),
    ("app",),
    ("main",),
    ("__main__",),
)
"""What may be imported: only what stands on a lower floor, or within one's own folder."""

HOMES = {
    "aiohttp": {"pulse/binance/transport.py", "pulse/main.py", "pulse/simulator"},
    "redis": {"pulse/bus/redis.py"},
    "psycopg": {"pulse/store/postgres.py"},
    "psycopg_pool": {"pulse/store/postgres.py"},
    "starlette": {
        "pulse/session.py",
        "pulse/events.py",
        "pulse/door.py",
        "pulse/app.py",
        "pulse/problems.py",
        "pulse/query.py",
        "pulse/site.py",
        "pulse/ohlcv.py",
        "pulse/udf.py",
    },
    "hypercorn": {"pulse/server.py", "pulse/hardening.py"},
    "wsproto": {"pulse/hardening.py"},
}
"""Third-party libraries and the only files, or folders, that know them."""

IMPURE = {"asyncio", "time", "logging", "socket", "os", "threading", "aiohttp", "orjson"}


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, by its full name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "pulse" else set()
            names.add(node.module or "")
    return names


def room_of(module: str) -> str:
    """The room of a module of ours: its second name."""
    return module.split(".")[1] if "." in module else ""


def floor_of(room: str) -> int:
    """The floor a room stands on."""
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def relative(path: Path) -> str:
    """A file's path from the top of the project."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_only_point_down(path: Path) -> None:
    """A file imports from lower floors and from its own folder, never sideways or up."""
    room = path.relative_to(PULSE).parts[0].removesuffix(".py")
    rooms = {room_of(name) for name in imports_of(path) if name.startswith("pulse.")} - {room, "", "__version__"}

    assert {other for other in rooms if floor_of(other) >= floor_of(room)} == set()


@pytest.mark.parametrize("path", sorted((PULSE / "market").glob("*.py")), ids=relative)
def test_the_market_is_pure(path: Path) -> None:
    """Nothing in `market/` knows a loop, a clock, a log or a network."""
    roots = {name.split(".")[0] for name in imports_of(path)}

    assert roots & IMPURE == set()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_libraries_stay_at_home(path: Path) -> None:
    """Each third-party library is known only where the house says."""
    strangers = [
        library
        for library, homes in HOMES.items()
        if library in {name.split(".")[0] for name in imports_of(path)}
        and not any(relative(path) == home or relative(path).startswith(home + "/") for home in homes)
    ]

    assert strangers == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_every_module_has_its_test_file(path: Path) -> None:
    """`pulse/x/y.py` is tested by `tests/x/test_y.py`."""
    own = path.relative_to(PULSE)
    test = ROOT / "tests" / own.parent / f"test_{own.stem.strip('_')}.py"

    assert test.exists(), f"{relative(path)} has no {relative(test)}"


@pytest.mark.parametrize("path", sorted(PULSE.rglob("*.py")), ids=relative)
def test_every_module_says_what_lives_there(path: Path) -> None:
    """Each file begins with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_every_setting_is_in_the_readme() -> None:
    """A setting that the README does not name is not a setting."""
    readme = (ROOT / "README.md").read_text()

    assert [f.name for f in fields(Settings) if f"`{environment_name(f.name)}`" not in readme] == []


def test_only_the_settings_read_the_environment() -> None:
    """`os.environ` is read at the door alone."""
    readers = [relative(path) for path in MODULES if "os.environ" in path.read_text()]

    assert readers == ["pulse/__main__.py"]
