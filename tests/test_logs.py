"""Logging: one line each to stderr, from a level on, and never with a password in it."""

import logging
from collections.abc import Iterator

import pytest

from pulse import logs

CHATTY = ("hypercorn.error", "hypercorn.access", "psycopg.pool", "aiohttp.access")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was: setting it up is for the whole process."""
    root = logging.getLogger()
    handlers, level, levels = root.handlers[:], root.level, {name: logging.getLogger(name).level for name in CHATTY}
    root.handlers = []  # so that setting up does not close them
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)


def test_a_line_says_when_what_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, logger and the message with its values, on stderr."""
    logs.set_up("INFO")
    logging.getLogger("pulse.ingest.exchange_stream").info("feed up symbol=%s", "BTCUSDT")

    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(" INFO    pulse.ingest.exchange_stream feed up symbol=BTCUSDT\n")


def test_below_the_level_nothing_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """The level is the least that is shown."""
    logs.set_up("WARNING")
    logging.getLogger("pulse.ingest.exchange_stream").info("feed up")

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("level", "shown"), [("DEBUG", logging.WARNING), ("ERROR", logging.ERROR)])
def test_chatty_libraries_speak_from_warning_on(level: str, shown: int) -> None:
    """What others log of each connection is left out, whatever our own level."""
    logs.set_up(level)

    assert {logging.getLogger(name).level for name in CHATTY} == {shown}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://pulse:s3cret@db:5432/x refused", "postgres://pulse:***@db:5432/x refused"),
        ("redis://:s3cret@cache:6379", "redis://:***@cache:6379"),
        ("rediss://default:s3cret@cache", "rediss://default:***@cache"),
        ("postgresql://u:s3c@r/et@db/x", "postgresql://u:***@db/x"),
        ("postgresql://u:s3/cret@db/x", "postgresql://u:***@db/x"),
        ("http://me:s3cret@host/ and http://you:s3c@ret@host/", "http://me:***@host/ and http://you:***@host/"),
    ],
)
def test_a_password_is_never_shown(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The password of an address is hidden, one with unescaped signs too; the rest of the address is not."""
    logs.set_up("INFO")
    logging.getLogger("pulse").warning("store away reason=%s", text)

    assert capsys.readouterr().err.endswith(f"store away reason={shown}\n")


def test_a_password_in_a_traceback_is_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception's text is logged with its traceback, and redacted like the rest."""
    logs.set_up("INFO")
    try:
        raise ValueError("cannot reach redis://:s3cret@cache:6379")
    except ValueError:
        logs.log_crash()

    err = capsys.readouterr().err
    assert "s3cret" not in err
    assert "ValueError: cannot reach redis://:***@cache:6379" in err
    assert "CRITICAL" in err


@pytest.mark.parametrize(
    "text",
    [
        "wss://stream.binance.us:9443/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker",
        "http://127.0.0.1:8000 symbol=BTCUSDT stream=btcusdt@trade",
    ],
)
def test_an_address_without_a_password_is_left_alone(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The signs of a stream's name are no password."""
    logs.set_up("INFO")
    logging.getLogger("pulse").info("connect url=%s", text)

    assert capsys.readouterr().err.endswith(f"connect url={text}\n")
