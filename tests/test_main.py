"""The command line: arguments become a plan, and errors an exit code."""

from typing import Any

import pytest

from pulse.__main__ import main
from pulse.errors import SettingsError
from pulse.settings import Settings


class FakeStart:
    """Stands for the terminal: records its plan, and raises the given error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.plan: Any = None
        self._error = error

    def __call__(self, settings: Settings, plan: Any) -> None:
        """Record the plan instead of running it."""
        self.plan = plan
        if self._error is not None:
            raise self._error


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> FakeStart:
    """Replace the terminal and the log set-up, and set the symbols."""
    fake = FakeStart()
    monkeypatch.setattr("pulse.__main__.start", fake)
    monkeypatch.setenv("PULSE_SYMBOLS", "BTCUSDT")
    monkeypatch.setattr("pulse.logs.set_up", lambda *_: None)
    return fake


@pytest.mark.parametrize(
    ("arguments", "source", "seed"),
    [([], "exchange", 1), (["--demo"], "simulation", 1), (["--demo", "--seed", "7"], "simulation", 7)],
)
def test_arguments_become_a_plan(started: FakeStart, arguments: list[str], source: str, seed: int) -> None:
    """The exchange is the default, and a demo has a seed."""
    assert main(arguments) == 0
    assert (started.plan.source, started.plan.symbols, started.plan.seed) == (source, ("BTCUSDT",), seed)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--seed", "1"], "--seed belongs to --demo."),
        (["--speed", "2"], "--speed belongs to --replay."),
        (["--demo", "--seed", "-1"], "expected"),
        (["--demo", "--seed", str(2**32)], "expected a whole number from 0 to 4294967295"),
        (["--replay", "x", "--speed", "0"], "expected max or a factor up to 1000"),
        (["--replay", "x", "--speed", "fast"], "expected max or a factor up to 1000"),
        (["--demo", "--replay", "x"], "not allowed with"),
        (["--unknown"], "Unrecognized arguments: --unknown; see `python -m pulse --help`."),
    ],
)
def test_wrong_argument_exits_2(
    started: FakeStart, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    """One sentence on stderr, and the terminal is not started."""
    assert main(arguments) == 2
    assert started.plan is None
    stderr = capsys.readouterr().err
    assert stderr.startswith("pulse: ")
    assert text in stderr


def test_each_settings_error_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The prefix tells them from log lines."""
    monkeypatch.setattr("pulse.__main__.start", FakeStart(SettingsError("One.\nTwo.")))
    monkeypatch.setattr("pulse.logs.set_up", lambda *_: None)

    assert main([]) == 2
    assert capsys.readouterr().err == "pulse: One.\npulse: Two.\n"


def test_unforeseen_error_exits_1(monkeypatch: pytest.MonkeyPatch, started: FakeStart) -> None:
    """It is logged, whatever it is."""
    logged: list[bool] = []
    monkeypatch.setattr("pulse.__main__.start", FakeStart(RuntimeError("broken")))
    monkeypatch.setattr("pulse.logs.log_crash", lambda: logged.append(True))

    assert main([]) == 1
    assert logged == [True]
