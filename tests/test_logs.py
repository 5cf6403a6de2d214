"""Logging: one line per record to stderr, from a level up, with passwords redacted."""

import io
import json
import logging
import re
from collections.abc import Iterator
from contextvars import copy_context
from math import nan
from pathlib import Path

import pytest

from pulse import logs

LIBRARIES = ("hypercorn.error", "hypercorn.access", "psycopg.pool", "aiohttp.access")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Restore the logging of the process after each test."""
    root = logging.getLogger()
    handlers, level, levels = root.handlers[:], root.level, {name: logging.getLogger(name).level for name in LIBRARIES}
    root.handlers = []  # so that setting up does not close them
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def test_a_line_has_time_level_logger_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    """The message with its values, on stderr alone."""
    logs.set_up("INFO")
    logging.getLogger("pulse.ingest.exchange_stream").info("feed up symbol=%s", "BTCUSDT")

    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(" INFO    pulse.ingest.exchange_stream feed up symbol=BTCUSDT\n")


def test_records_below_the_level_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """WARNING leaves out INFO."""
    logs.set_up("WARNING")
    logging.getLogger("pulse.ingest.exchange_stream").info("feed up")

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("level", "shown"), [("DEBUG", logging.WARNING), ("ERROR", logging.ERROR)])
def test_libraries_log_warnings_and_above_only(level: str, shown: int) -> None:
    """Whatever our own level; a higher one applies to them too."""
    logs.set_up(level)

    assert {logging.getLogger(name).level for name in LIBRARIES} == {shown}


@pytest.mark.proves("secrets")
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
def test_a_password_is_redacted(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One with unescaped characters too; the rest of the URL is kept."""
    logs.set_up("INFO")
    logging.getLogger("pulse").warning("store away reason=%s", text)
    logging.getLogger("pulse").warning(f"store away: {text}")  # noqa: G004  # as libraries do
    logs.set_up("INFO", "json")
    logging.getLogger("pulse").warning("store away reason=%s other=%s", text, "a@b")
    pairs, words, as_json = capsys.readouterr().err.splitlines()

    assert pairs.endswith(f"store away reason={logs.quoted(shown)}")
    assert words.endswith(f"store away: {shown}")
    assert (json.loads(as_json)["reason"], json.loads(as_json)["other"]) == (shown, "a@b")


@pytest.mark.proves("secrets")
def test_a_password_in_a_traceback_is_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception's text is part of the traceback, and redacted with it."""
    logs.set_up("INFO")
    try:
        raise ValueError("cannot reach redis://:s3cret@cache:6379")
    except ValueError:
        logs.log_crash()

    err = capsys.readouterr().err
    assert "s3cret" not in err
    assert "ValueError: cannot reach redis://:***@cache:6379" in err
    assert "CRITICAL" in err


@pytest.mark.proves("log-forgery")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\n2026-11-30 12:00:00 INFO forged", r"a\x0d\x0a2026-11-30 12:00:00 INFO forged"),
        ("\x1b[2J\x7f\x85", r"\x1b[2J\x7f\x85"),
        ("\u2028\u202e\u2066\ud800", r"\u2028\u202e\u2066\ud800"),
        ("\u5e01\u5b89USDT \xe9", "\u5e01\u5b89USDT \xe9"),
    ],
    ids=["line break", "terminal sequence", "unicode", "letters"],
)
def test_control_characters_are_escaped(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Text of others is one line, whatever it holds; letters of any script are kept."""
    logs.set_up("INFO")
    logging.getLogger("pulse").warning(f"control message refused: {text}")  # noqa: G004  # as libraries do

    assert capsys.readouterr().err.endswith(f"control message refused: {shown}\n")
    assert logs.printable(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("BTCUSDT", "BTCUSDT"),
        ("\u5e01\u5b89USDT", "\u5e01\u5b89USDT"),
        (17, "17"),
        (10**400, str(10**400)),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "no"', r'"say \"no\""'),
        ("a=b", '"a=b"'),
        ("a\\b", r'"a\\b"'),
        ("a\r\n2026-11-30 12:00:00 INFO forged", r'"a\r\n2026-11-30 12:00:00 INFO forged"'),
        ("\x1b[2J\x7f\x85\u202e\ud800", r'"\u001b[2J\u007f\u0085\u202e\ud800"'),
    ],
)
def test_values_are_quoted_as_logfmt_has_them(value: object, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Only where it is needed, on one line; what is quoted is a JSON string."""
    logs.set_up("INFO")
    logging.getLogger("pulse").warning("control message refused error=%s times=%s", value, 3)

    assert capsys.readouterr().err.endswith(f"control message refused error={shown} times=3\n")
    assert not shown.startswith('"') or json.loads(shown) == value


def test_a_json_line_has_the_pairs_as_members(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers stay numbers, what is composed is text; time is UTC to the millisecond."""
    logs.set_up("INFO", "json")
    logging.getLogger("pulse.x").info(
        "trades missing symbol=%s ids=%s-%s count=%s took_s=%.3f share=%s", "BTCUSDT", 7, 9, 3, 0.5, nan
    )
    logging.getLogger("pulse.x").warning("stopping")
    line, last = map(json.loads, capsys.readouterr().err.splitlines())

    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "info", "logger": "pulse.x", "message": "trades missing", "symbol": "BTCUSDT", "ids": "7-9",
        "count": 3, "took_s": 0.5, "share": "nan",
    }  # fmt: skip
    assert (last["level"], last["message"]) == ("warning", "stopping")


def test_a_library_message_is_kept_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Words after a pair, or values outside of pairs, make it no message of that form."""
    logs.set_up("INFO", "json")
    logging.getLogger("library").warning("pool %r size=%s is full", "a", 4)
    logging.getLogger("library").warning("size=%s of %s", 4, 5)
    logging.getLogger("library").warning("limits %(a)s size=%(b)s", {"a": 1, "b": 2})

    messages = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert messages == ["pool 'a' size=4 is full", "size=4 of 5", "limits 1 size=2"]


def test_a_traceback_is_one_member_of_a_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With passwords redacted."""
    logs.set_up("INFO", "json")
    try:
        raise ValueError("first\nredis://:s3cret@cache")
    except ValueError:
        logs.log_crash()
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())

    assert line["level"] == "critical"
    assert line["traceback"].endswith("ValueError: first\nredis://:***@cache")


@pytest.mark.parametrize("format_name", logs.FORMATS)
def test_the_request_is_in_each_of_its_lines(format_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And in no other line."""
    logs.set_up("INFO", format_name)

    def answer() -> None:
        logs.request_id.set("ab-1")
        logging.getLogger("pulse").info("refused limit=%s", "all")

    copy_context().run(answer)
    logging.getLogger("pulse").info("refused limit=%s", "all")
    of_request, other = capsys.readouterr().err.splitlines()

    assert ("request=ab-1" if format_name == "text" else '"request": "ab-1"') in of_request
    assert "ab-1" not in other


def test_no_pair_has_the_name_of_another_member() -> None:
    """A JSON line has each name once."""
    sources = "\n".join(path.read_text() for path in Path(logs.__file__).parent.rglob("*.py"))

    assert not re.search(r'"[^"\n]* (time|level|logger|message|request|traceback)=%', sources)


@pytest.mark.proves("log-forgery")
def test_a_traceback_cannot_forge_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line but the record's first is indented."""
    logs.set_up("INFO")
    try:
        raise ValueError("first\n2026-11-30 12:00:00 INFO pulse forged\rforged")
    except ValueError:
        logs.log_crash()

    first, *further = capsys.readouterr().err.rstrip("\n").split("\n")
    assert "CRITICAL" in first
    assert all(line.startswith(logs.TRACEBACK_INDENT) for line in further)
    assert any(r"forged\x0dforged" in line for line in further)


@pytest.mark.parametrize(
    "text",
    [
        "wss://stream.binance.us:9443/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker",
        "http://127.0.0.1:8000 symbol=BTCUSDT stream=btcusdt@trade",
    ],
)
def test_a_url_without_a_password_is_unchanged(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The characters of a stream's name are not taken for a password."""
    logs.set_up("INFO")
    logging.getLogger("pulse").info("connect url=%s", text)

    assert capsys.readouterr().err.endswith(f'connect url="{text}"\n')


@pytest.mark.proves("log-flood")
def test_repeated_trouble_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The first at once, then one with the count since the last line."""
    now_s = [0.0]
    trouble = logs.RepeatedTrouble(logging.getLogger("pulse"), "refused limit=%s", lambda: now_s[0])
    for second in range(130):
        now_s[0] = float(second)
        trouble.warn("all")
        trouble.warn("all")

    assert [record.getMessage() for record in caplog.records] == [
        "refused limit=all times=1",
        "refused limit=all times=120",
        "refused limit=all times=120",
    ]


@pytest.mark.proves("log-flood")
def test_a_line_that_repeats_without_end_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever logs it, in a million times; lines of other kinds are written, and how many were left out is said."""
    now_s = [0.0]
    logger = logging.getLogger("library")
    handler = logs._BoundedHandler(lambda: now_s[0])
    logger.addHandler(handler)
    try:
        for number in range(20_000):
            now_s[0] = number / 1000
            logger.error(f"accept failed on the descriptor of a very long name, fd={number}")  # noqa: G004  # as libraries do
        logger.error("another line")
    finally:
        logger.removeHandler(handler)
    lines = capsys.readouterr().err.splitlines()

    assert logs.LINES_AT_ONCE <= len(lines) <= logs.LINES_AT_ONCE + 2 * 20 * logs.LINES_PER_S
    assert lines[-1] == "another line"
    assert sum(line.startswith("log lines left out count=") for line in lines) > 100


def test_the_kinds_of_lines_are_bounded() -> None:
    """Text that differs from line to line takes no memory."""
    handler = logs._BoundedHandler()
    handler.setStream(io.StringIO())
    for number in range(3 * logs.KINDS_MAX):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, f"{number} lines", (), None))

    assert len(handler._kinds) == logs.KINDS_MAX


def test_trouble_of_one_thing_is_logged_once_per_change(caplog: pytest.LogCaptureFixture) -> None:
    """As a warning when it begins, when its reason changes, and when it begins again; at debug level while it lasts."""
    trouble = logs.StateOfTrouble(logging.getLogger("pulse"), "down reason=%s")
    with caplog.at_level(logging.DEBUG, "pulse"):
        seen = [trouble.over()]
        for reason in ("a", "a", "b", "", "b"):
            if reason:
                trouble.warn(reason, reason)
            else:
                seen.append(trouble.over())

    assert seen == [False, True]
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "down reason=a"), ("DEBUG", "down reason=a"),
        ("WARNING", "down reason=b"), ("WARNING", "down reason=b"),
    ]  # fmt: skip
