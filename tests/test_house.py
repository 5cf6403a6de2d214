"""The structure of the code: which way imports point, who may import which library, what every file must have."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from pulse.settings import Settings, environment_name

ROOT = Path(__file__).parent.parent
PULSE = ROOT / "pulse"
MODULES = sorted(path for path in PULSE.rglob("*.py") if path.name != "__init__.py")

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "logs", "clock", "machine", "stats", "concurrency", "market", "simulator", "client"),
    ("settings", "symbols", "latency", "queues", "wire", "store", "binance", "server"),
    ("engine", "ingest", "candle_history", "past", "bus", "fanout"),
    ("web",),
    ("terminal",),
    ("supervisor", "check"),
    ("__main__",),
)
"""A package or module may import only from lower floors, or from its own package."""

HOMES = {
    "aiohttp": {"pulse/binance/transport.py", "pulse/simulator"},
    "redis": {"pulse/bus/redis.py", "pulse/bus/lease_keeper.py"},
    "psycopg": {"pulse/store/postgres.py", "pulse/store/postgres_address.py", "pulse/store/postgres_probe.py"},
    "psycopg_pool": {"pulse/store/postgres.py"},
    "starlette": {"pulse/web"},
    "hypercorn": {"pulse/server/listener.py", "pulse/server/hypercorn_patches.py", "pulse/server/http1.py"},
    "wsproto": {"pulse/server/hypercorn_patches.py"},
}
"""Third-party libraries, and the only files or packages that may import them."""

IMPURE = {"asyncio", "time", "logging", "socket", "os", "threading", "aiohttp", "orjson"}
"""What `market/` may not import."""


def imports_of(path: Path) -> set[str]:
    """Return the full name of every module that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "pulse" else set()
            names.add(node.module or "")
    return names


def part_of(module: str) -> str:
    """Return the package or top-level module of ours that a module belongs to: its second name."""
    return module.split(".")[1] if "." in module else ""


def floor_of(part: str) -> int:
    """Return the number of the floor that a package or top-level module stands on."""
    return next(number for number, parts in enumerate(FLOORS) if part in parts)


def relative(path: Path) -> str:
    """Return a file's path from the top of the project."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_down(path: Path) -> None:
    """A file imports from lower floors and from its own package, never sideways or up."""
    part = path.relative_to(PULSE).parts[0].removesuffix(".py")
    parts = {part_of(name) for name in imports_of(path) if name.startswith("pulse.")} - {part, "", "__version__"}

    assert {other for other in parts if floor_of(other) >= floor_of(part)} == set()


@pytest.mark.parametrize("path", sorted((PULSE / "market").glob("*.py")), ids=relative)
def test_market_is_pure(path: Path) -> None:
    """Nothing in `market/` imports an event loop, a clock, a log or a network."""
    roots = {name.split(".")[0] for name in imports_of(path)}

    assert roots & IMPURE == set()


@pytest.mark.parametrize("name", ["block", "columns", "events", "playback", "state"])
def test_codec_of_the_past_is_pure(name: str) -> None:
    """What a block's bytes are depends on the block alone: no loop, clock, log, network or file."""
    roots = {name.split(".")[0] for name in imports_of(PULSE / "past" / f"{name}.py")}

    assert roots & (IMPURE - {"orjson"} | {"pathlib"}) == set()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_libraries_stay_in_their_files(path: Path) -> None:
    """Each third-party library is imported only where HOMES says."""
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
def test_every_module_begins_with_a_docstring(path: Path) -> None:
    """Each file says at its top what it holds."""
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_every_setting_is_documented() -> None:
    """docs/configuration.md names every setting."""
    page = (ROOT / "docs" / "configuration.md").read_text()

    assert [f.name for f in fields(Settings) if f"`{environment_name(f.name)}`" not in page] == []


def test_only_the_command_line_reads_the_environment() -> None:
    """`os.environ` is read in `__main__` alone."""
    readers = [relative(path) for path in MODULES if "os.environ" in path.read_text()]

    assert readers == ["pulse/__main__.py"]
