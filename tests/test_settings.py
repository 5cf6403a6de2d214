"""The settings: read once and strictly; all errors are reported together, and no password in them."""

from dataclasses import FrozenInstanceError, fields

import pytest

from pulse.errors import SettingsError
from pulse.settings import _READERS, Settings, environment_name


def read(**environment: str) -> Settings:
    """Return the settings of an environment."""
    return Settings.from_environment(environment)


def errors(**environment: str) -> list[str]:
    """Return the errors of an environment, one sentence each."""
    with pytest.raises(SettingsError) as caught:
        read(**environment)
    return str(caught.value).split("\n")


def test_empty_environment_gives_the_defaults() -> None:
    """Every setting has a default, and an empty variable counts as missing."""
    assert read() == read(PORT="", PULSE_VENUE="", DATABASE_URL="") == Settings()


def test_every_setting_can_be_read() -> None:
    """A setting without a reader would end the start with a KeyError, and only once it is set."""
    assert set(_READERS) == {spec.name for spec in fields(Settings)}


def test_variables_of_other_programs_are_ignored() -> None:
    """So are those of our own tests."""
    assert read(HOME="/root", HOST="x", PULSE_TEST_RECORDINGS="/nowhere", PULSEAUDIO="1") == Settings()


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("PORT", "80", "port", 80),
        ("PORT", "0", "port", 0),
        ("PULSE_HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("PULSE_HOSTS", "A.example., *.b.example,a.example", "hosts", ("a.example", "*.b.example")),
        ("PULSE_HOSTS", "*", "hosts", ("*",)),
        ("PULSE_TOKEN", "0123456789abcde!", "token", "0123456789abcde!"),
        ("PULSE_OPERATOR_TOKEN", "~" * 256, "operator_token", "~" * 256),
        ("PULSE_OPERATOR_BIND", "9000", "operator_bind", ("127.0.0.1", 9000)),
        ("PULSE_OPERATOR_BIND", "10.0.0.5:0", "operator_bind", ("10.0.0.5", 0)),
        ("PULSE_OPERATOR_BIND", "[::1]:9000", "operator_bind", ("::1", 9000)),
        ("RENDER_EXTERNAL_HOSTNAME", "pulse.onrender.com", "platform_host", "pulse.onrender.com"),
        ("PULSE_ALLOWED_ORIGINS", "https://a.example, http://b:8000/,https://a.example", "allowed_origins",
         ("https://a.example", "http://b:8000")),
        ("PULSE_ALLOWED_ORIGINS", "*", "allowed_origins", ("*",)),
        ("PULSE_CLIENTS_MAX", "5", "clients_max", 5),
        ("PULSE_CLIENTS_PER_ADDRESS_MAX", "5", "clients_per_address_max", 5),
        ("PULSE_REQUESTS_PER_ADDRESS_S", "0", "requests_per_address_s", 0),
        ("PULSE_TRUSTED_HOPS", "1", "trusted_hops", 1),
        ("PULSE_VENUE", "vision", "venue", "vision"),
        ("PULSE_FALLBACK_VENUE", "us", "fallback_venue", "us"),
        ("PULSE_SYMBOLS", "\u5e01\u5b89usdt,\xe4usdt", "symbols", ("\u5e01\u5b89USDT", "\xc4USDT")),
        ("PULSE_SYMBOLS", " btcusdt,ETHUSDT ,,BTCUSDT", "symbols", ("BTCUSDT", "ETHUSDT")),
        ("PULSE_REST_URL", "http://127.0.0.1:9000/", "rest_url", "http://127.0.0.1:9000"),
        ("PULSE_STREAM_URL", "wss://stream.binance.us:9443", "stream_url", "wss://stream.binance.us:9443"),
        ("PULSE_DEPTH_LIMIT", "1000", "depth_limit", 1000),
        ("PULSE_LEVELS_MAX", "100000", "levels_max", 100_000),
        ("PULSE_PUBLISH_INTERVAL_MS", "0", "publish_interval_ms", 0),
        ("PULSE_TRADES_KEPT", "1", "trades_kept", 1),
        ("PULSE_STALE_AFTER_S", "0.5", "stale_after_s", 0.5),
        ("PULSE_BACKFILL_DAYS", "0", "backfill_days", 0),
        ("PULSE_NAMESPACE", "staging-2", "namespace", "staging-2"),
        ("REDIS_URL", "rediss://:secret@cache:6379/0", "redis_url", "rediss://:secret@cache:6379/0"),
        ("REDIS_URL", "unix:///tmp/redis.sock", "redis_url", "unix:///tmp/redis.sock"),
        ("DATABASE_URL", "postgresql:///pulse?host=/tmp", "database_url", "postgresql:///pulse?host=/tmp"),
        ("PULSE_SQLITE_PATH", "/tmp/x.sqlite3", "sqlite_path", "/tmp/x.sqlite3"),
        ("PULSE_LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
    ],
)  # fmt: skip
def test_each_setting_is_read(name: str, text: str, field: str, value: object) -> None:
    """A variable sets its field, and no other."""
    settings = read(**{name: text})

    assert getattr(settings, field) == value
    assert [f.name for f in fields(Settings) if getattr(settings, f.name) != getattr(Settings(), f.name)] == [field]


@pytest.mark.parametrize(
    ("name", "texts", "expected"),
    [
        ("PORT", ["65536", "-1", "8000.0", "80 ", "１２", "1_000", "port", "0x50", "9" * 10], "a whole number from 0 to 65535"),  # noqa: E501, RUF001
        ("PULSE_CLIENTS_MAX", ["0"], "a whole number from 1 to 100000"),
        ("PULSE_DEPTH_LIMIT", ["99", "5001"], "a whole number from 100 to 5000"),
        ("PULSE_LEVELS_MAX", ["99"], "a whole number from 100 to 100000"),
        ("PULSE_TRADES_KEPT", ["0"], "a whole number from 1 to 1000"),
        ("PULSE_STALE_AFTER_S", ["0.4", "3601", "nan", "inf", "1e3", ".5", "5\n"],
         "a number of seconds from 0.5 to 3600"),
        ("PULSE_VENUE", ["US", "kraken"], "one of us, com, vision"),
        ("PULSE_FALLBACK_VENUE", ["none"], "one of us, com, vision"),
        ("PULSE_LOG_LEVEL", ["debug", "TRACE"], "one of DEBUG, INFO, WARNING, ERROR"),
        ("PULSE_SYMBOLS", [",", "BTC/USDT", "B", "A" * 21, "\u5e01/USDT", "\u017fOLUSDT", "\ud800USDT",
            ",".join(f"A{i}" for i in range(501))],
         "1 to 500 symbols such as BTCUSDT,ETHUSDT"),
        ("PULSE_NAMESPACE", ["Pulse", "a:b", "-a", "a" * 33, "ä"],
         "1 to 32 of a-z, 0-9, - and _, beginning with a letter or digit"),
        ("PULSE_REST_URL", ["ftp://x", "127.0.0.1:80", "http://"],
         "an address that starts with http:// or https://"),
        ("PULSE_REST_URL", ["http://[::1", "http://x:port"], "an address with a valid host and port"),
        ("PULSE_STREAM_URL", ["https://x"], "an address that starts with ws:// or wss://"),
        ("PULSE_OPERATOR_BIND", ["x", ":9000", "65536", "127.0.0.1", "::1:9000", "http://a:80"],
         "a port of 127.0.0.1 such as 9000, or an address with a port such as 10.0.0.5:9000"),
        ("PULSE_HOSTS", ["https://a.example", "a.example:80", "a.*.example", "a b", "-a.example"],
         "* or a list of host names without scheme and port, such as terminal.example.com,*.example.org"),
        ("PULSE_ALLOWED_ORIGINS", ["a.example", "https://a/path", "ftp://a", "https://"],
         "* or a list of origins such as https://terminal.example.com"),
    ],
)  # fmt: skip
def test_wrong_value_gets_a_sentence(name: str, texts: list[str], expected: str) -> None:
    """It names the variable, what it must be, and its value."""
    for text in texts:
        shown = repr(text) if len(text) <= 80 else repr(text[:77] + "...")

        assert errors(**{name: text}) == [f"{name} must be {expected}, not {shown}."]


@pytest.mark.parametrize("name", ["PULSE_TOKEN", "PULSE_OPERATOR_TOKEN"])
@pytest.mark.parametrize(
    "text", ["0123456789abcde", "x" * 257, "a token with spaces", "t\xf6ken-0123456789", "0" * 16 + "\n"]
)
def test_a_wrong_token_is_not_shown(name: str, text: str) -> None:
    """The sentence says how long it must be and how to make one; it repeats nothing of it."""
    (sentence,) = errors(**{name: text})

    assert sentence.startswith(f"{name} must be 16 to 256 printable ASCII characters without spaces")
    assert sentence.endswith(f"not the given value of {len(text)} characters (not shown).")
    assert text not in sentence


def test_the_tokens_must_differ() -> None:
    """Else every reader would be the operator; neither is in the settings' own text."""
    token = "0123456789abcdef"

    assert errors(PULSE_TOKEN=token, PULSE_OPERATOR_TOKEN=token) == [
        "PULSE_OPERATOR_TOKEN must differ from PULSE_TOKEN: every reader would be the operator."
    ]
    assert token not in repr(read(PULSE_TOKEN=token, PULSE_OPERATOR_TOKEN=token[::-1]))
    assert token[::-1] not in repr(read(PULSE_OPERATOR_TOKEN=token[::-1]))


def test_all_errors_are_reported_together() -> None:
    """So that they can be corrected in one go."""
    sentences = errors(PORT="x", PULSE_VENUE="y", PULSE_SYMBOL="BTCUSDT", PULSE_PORT="80")

    assert [sentence.split(" ")[0] for sentence in sentences] == ["PULSE_SYMBOL", "PULSE_PORT", "PORT", "PULSE_VENUE"]
    assert sentences[0] == "PULSE_SYMBOL is not a setting of Pulse; docs/configuration.md lists all of them."
    assert sentences[1] == "PULSE_PORT is not a setting of Pulse: its name is PORT, as platforms have it."


@pytest.mark.parametrize(
    ("name", "text", "schemes"),
    [
        ("REDIS_URL", "http://:s3cret@cache", "redis:// or rediss:// or unix://"),
        ("DATABASE_URL", "mysql://u:s3cret@db", "postgres:// or postgresql://"),
    ],
)
def test_wrong_address_is_not_shown(name: str, text: str, schemes: str) -> None:
    """It may hold a password."""
    shown = "the given value (not shown: it may hold a password)"

    assert errors(**{name: text}) == [f"{name} must be an address that starts with {schemes}, not {shown}."]


@pytest.mark.parametrize("scheme", ["postgres", "redis", "rediss"])
@pytest.mark.parametrize(
    "password", ["a@b", "a/b", "a/b@c", "a?b", "a#b", "12/3", "12#3", "a%b", "100%", "a[b", "a]b", "a\nb", "a\udcffb"]
)
def test_password_that_must_be_encoded(scheme: str, password: str) -> None:
    """A character that ends a password in an address is named, and how to write it."""
    name = "DATABASE_URL" if scheme == "postgres" else "REDIS_URL"
    (sentence,) = errors(**{name: f"{scheme}://user:{password}@host.example.com:6432/name?sslmode=require"})

    assert sentence == (
        f"{name} must be an address whose user name and password are percent-encoded (@ as %40, : as %3A, / as %2F, "
        "? as %3F, # as %23, % as %25), not the given value (not shown: it may hold a password)."
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DATABASE_URL", "postgres://user:a%40b%2F%23@host:5432/name"),
        ("DATABASE_URL", "postgres://one:5432,two:5433/name?target_session_attrs=any"),
        ("DATABASE_URL", "postgres://[::1]:5432/name"),
        ("DATABASE_URL", "postgresql:///name?host=/tmp&user=me@home"),
        ("DATABASE_URL", "postgresql://host:5432/name?user=me@home"),
        ("REDIS_URL", "rediss://default:a%3Ab@host:6379?ssl_cert_reqs=none"),
        ("REDIS_URL", "redis://user:a:b@host"),
    ],
)
def test_addresses_of_servers_are_kept(name: str, text: str) -> None:
    """Several hosts of PostgreSQL, IPv6, sockets and encoded passwords are accepted as they are."""
    settings = read(**{name: text})

    assert text in (settings.database_url, settings.redis_url)


@pytest.mark.parametrize("text", ["postgres://host:port/name", "postgres://host:99999/name", "postgres://[::1/name"])
def test_address_of_a_wrong_host_or_port(text: str) -> None:
    """The sentence states which part is wrong."""
    shown = "the given value (not shown: it may hold a password)"

    assert errors(DATABASE_URL=text) == [f"DATABASE_URL must be an address with a valid host and port, not {shown}."]


@pytest.mark.proves("database-address")
@pytest.mark.parametrize(
    "text",
    [
        "redis+sentinel://:s3cret@one:26379/mymaster", "rediss+sentinel://one", "sentinel://one", "redis-sentinel://one",
        "redis+cluster://one:7000", "redis-cluster://one:7000", "redis://:s3cret@one:7000,two:7000/0",
    ],
)  # fmt: skip
def test_addresses_of_a_cluster_or_of_sentinels_are_refused(text: str) -> None:
    """The sentence states that a single server is needed."""
    assert errors(REDIS_URL=text) == [
        "REDIS_URL must be the address of a single server (Redis Cluster and Sentinel are not supported), "
        "not the given value (not shown: it may hold a password)."
    ]


@pytest.mark.proves("secrets")
def test_password_is_not_in_the_repr() -> None:
    """The settings can be logged: addresses that may hold a password are left out."""
    text = repr(read(REDIS_URL="redis://:s3cret@cache", DATABASE_URL="postgres://u:s3cret@db"))

    assert "s3cret" not in text


def test_settings_are_frozen() -> None:
    """What was read at the start holds to the end."""
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_environment_names() -> None:
    """Platforms' names are kept, ours have a prefix."""
    names = [environment_name(name) for name in ("port", "redis_url", "database_url", "venue")]

    assert names == ["PORT", "REDIS_URL", "DATABASE_URL", "PULSE_VENUE"]


@pytest.mark.parametrize(("backfill", "kept", "fetched"), [(30, 730, 30), (30, 7, 7), (30, 0, 30), (0, 7, 0)])
def test_backfill_is_limited_by_retention(backfill: int, kept: int, fetched: int) -> None:
    """Minutes that would be deleted are not fetched."""
    assert Settings(backfill_days=backfill, retention_days=kept).past_days == fetched
