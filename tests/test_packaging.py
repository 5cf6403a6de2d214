"""What is shipped and what is installed: the lock files, the wheel and the sdist."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
RUN_LOCK, TEST_LOCK = ROOT / "requirements.lock", ROOT / "requirements-test.lock"
LOCKS = (RUN_LOCK, TEST_LOCK)
BUILD_TIMEOUT_S = 120
PINNED = re.compile(r"^([\w.-]+)==([\w.]+)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
FOLDERS = ("bench", "deploy", "docs", "pulse", "sql", "static", "tests")


def name_of(path: Path) -> str:
    """Return a file's name as the test's name."""
    return path.name


def entries_of(lock: Path) -> list[str]:
    """Return the entries of a lock file: a pinned package and the lines that belong to it."""
    lines = [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines))


def versions_of(lock: Path) -> dict[str, str]:
    """Return the pinned version of each package, by its canonical name."""
    return {canonicalize_name(name): version for name, version in PINNED.findall(lock.read_text())}


def project() -> dict[str, Any]:
    """Return the project table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def unmet(requirements: list[str], lock: Path) -> list[str]:
    """Return the requirements that a lock file does not name, or with a version outside their bounds."""
    versions = versions_of(lock)
    return [
        str(wanted)
        for wanted in map(Requirement, requirements)
        if not wanted.specifier.contains(versions.get(canonicalize_name(wanted.name), "0.dev0"))
    ]


@pytest.mark.proves("supply")
@pytest.mark.parametrize("lock", LOCKS, ids=name_of)
def test_a_lock_has_hashes_and_no_address(lock: Path) -> None:
    """Every package has one version and the hashes of its files; any index or mirror can serve them."""
    entries = entries_of(lock)

    assert len(entries) == len(versions_of(lock)) > 10
    assert [entry for entry in entries if not HASH.search(entry)] == []
    assert "://" not in lock.read_text()
    assert "@" not in lock.read_text()


@pytest.mark.proves("supply")
def test_the_lock_satisfies_the_dependencies() -> None:
    """requirements.lock has a version of each runtime dependency within its bounds."""
    assert unmet(project()["dependencies"], RUN_LOCK) == []


def test_the_test_lock_satisfies_the_test_extra() -> None:
    """requirements-test.lock has a version of each dependency of the `test` extra within its bounds."""
    assert unmet(project()["optional-dependencies"]["test"], TEST_LOCK) == []


def test_tests_run_with_the_versions_that_are_deployed() -> None:
    """Each package of requirements.lock is in requirements-test.lock with the same version."""
    assert versions_of(RUN_LOCK).items() <= versions_of(TEST_LOCK).items()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist and the wheel; return the folder they are in."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=BUILD_TIMEOUT_S)
    return folder


def test_the_wheel_has_all_that_runs(built: Path) -> None:
    """The wheel has the package with its mark as typed, the page, and the SQL."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    files = [path.relative_to(ROOT) for path in (ROOT / "pulse").rglob("*") if path.suffix in (".py", ".typed")]
    sql = [path.relative_to(ROOT) for path in (ROOT / "sql").iterdir()]
    assert {path.as_posix() for path in files} <= names
    assert {f"pulse/{path.as_posix()}" for path in sql} <= names
    assert {"pulse/py.typed", "pulse/static/index.html"} <= names


def test_the_sdist_has_all_that_the_tests_read(built: Path) -> None:
    """The sdist has every folder of the project, the documents, the lock files and the tools' settings."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    own = [
        *ROOT.glob("*.md"),
        *ROOT.glob("*.lock"),
        *ROOT.glob("*.json*"),
        *ROOT.glob("*.yaml"),
        ROOT / "Dockerfile",
        ROOT / ".dockerignore",
        ROOT / ".ci" / "run",
        ROOT / ".editorconfig",
    ]
    assert {path.relative_to(ROOT).as_posix() for path in own} <= names
    assert set(FOLDERS) <= {name.partition("/")[0] for name in names}
