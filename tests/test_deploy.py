"""What is in `deploy/` for running the program somewhere: the container's health check."""

import importlib.util
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


@pytest.fixture
def healthcheck() -> ModuleType:
    """Load the container's health check, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("healthcheck", DEPLOY / "healthcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
