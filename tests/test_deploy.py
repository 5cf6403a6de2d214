"""What is in `deploy/`: the container's health check, and the list of parts that are not ours with their licences."""

import importlib.util
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from tests.test_packaging import RUN_LOCK, TEST_LOCK, versions_of

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


def load(name: str) -> ModuleType:
    """Load a script of `deploy/`, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def healthcheck() -> ModuleType:
    """Load the container's health check."""
    return load("healthcheck")


@pytest.fixture(scope="module")
def parts() -> ModuleType:
    """Load the list of parts."""
    return load("parts")


@contextmanager
def server(answer: bytes) -> Iterator[int]:
    """Run a server that gives one client this answer, then closes; with an empty one it never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                request = connection.recv(4096)
                assert request.startswith(b"GET /healthz HTTP/1.1\r\n")
                connection.sendall(answer)
                if not answer:
                    connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, ""),
        (b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n", 1, "/healthz answered 503, expected 200\n"),
        (b"nonsense\r\n", 1, "no answer from /healthz: nonsense\n"),
        (b"", 1, "no answer from /healthz: timed out\n"),
    ],
)
def test_the_health_check_is_the_answers_status(
    healthcheck: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: bytes,
    code: int,
    reason: str,
) -> None:
    """It is healthy with 200 alone; anything else is a reason in one line, and a mute process is given up in time."""
    with server(answer) as port:
        monkeypatch.setenv("PORT", str(port))
        monkeypatch.setattr(healthcheck, "TIMEOUT_S", 0.3)
        assert healthcheck.main() == code

    assert capsys.readouterr().err == reason


def test_without_a_process_it_is_not_healthy(
    healthcheck: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A connection that is refused is a reason, too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("PORT", str(port))

    assert healthcheck.main() == 1
    assert capsys.readouterr().err.startswith("no answer from /healthz: ")


def test_the_licences_are_current(parts: ModuleType) -> None:
    """After a change of a lock file or a vendored file, run `python deploy/parts.py`."""
    assert parts.licences_page() == (ROOT / "docs" / "licences.md").read_text()
    assert parts.sbom_text() == (DEPLOY / "sbom.cdx.json").read_text()


def test_the_sbom_has_every_part_once(parts: ModuleType) -> None:
    """Each package of the locks has its version, what runs is required, and only known parts refer to each other."""
    bill = json.loads((DEPLOY / "sbom.cdx.json").read_text())
    python = {
        (part["name"], part["version"]): part["scope"] for part in bill["components"] if "pkg:pypi/" in part["purl"]
    }
    refs = {part["bom-ref"] for part in bill["components"]} | {"pulse-terminal"}
    needed = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}

    assert len(refs) == len(bill["components"]) + 1
    assert set(python) == set(versions_of(TEST_LOCK).items())
    assert {name for (name, _), scope in python.items() if scope == "required"} == set(versions_of(RUN_LOCK))
    assert {ref for needs in needed.values() for ref in needs} <= refs
    assert {"pkg:pypi/aiohttp@" in ref for ref in needed["pulse-terminal"]} == {True, False}
    assert parts.vendored_parts()[0].purl in refs


def test_a_part_without_a_licence_is_an_error(parts: ModuleType) -> None:
    """It is named, with what to do."""
    with pytest.raises(LookupError, match="no-such-package is not installed here"):
        parts.python_licence("no-such-package")
