"""All settings: one line each, read once from the environment; all errors are reported together, one sentence each.

Nothing else in the project reads the environment. Platforms' names are kept (`PLATFORM_NAMES`); ours are PULSE_ and
the field's name in capitals.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from pulse.errors import SettingsError
from pulse.logs import FORMATS
from pulse.market.symbol_names import symbol_name

VENUES = ("us", "com", "vision")
PLATFORM_NAMES = {
    "port": "PORT",
    "platform_host": "RENDER_EXTERNAL_HOSTNAME",
    "redis_url": "REDIS_URL",
    "database_url": "DATABASE_URL",
}
HOST_NAME = re.compile(r"\*|(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.ASCII)
NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
PORT_MAX = 65_535
SYMBOLS_MAX = 500
TOKEN_CHARS_MIN, TOKEN_CHARS_MAX = 16, 256


@dataclass(frozen=True)
class Settings:
    """How this process runs. Units are in the names; bounds that are not settings are constants beside their use."""

    # server
    host: str = "127.0.0.1"  # the address to listen on; 0.0.0.0 behind a platform's proxy
    port: int = 8000  # the port to listen on; 0 takes a free one
    hosts: tuple[str, ...] = ()  # names under which it may be addressed, besides addresses and localhost; * for any
    platform_host: str = ""  # the name that Render gives the service, accepted like those of `hosts`
    token: str = field(default="", repr=False)  # what readers must send; empty: everyone reads
    operator_token: str = field(default="", repr=False)  # what the operator must send
    operator_bind: tuple[str, int] | None = None  # a listener for the operator alone, which needs no token
    allowed_origins: tuple[str, ...] = ()  # other sites whose pages may use the API and WebSockets; * for any
    clients_max: int = 1000  # open WebSockets and event streams at once; more are refused with 503
    clients_per_address_max: int = 50  # the same from one address; more are refused with 429
    requests_per_address_s: int = 20  # requests a second from one address; more are refused with 429; 0: no limit
    trusted_hops: int = 0  # how many of our proxies append to X-Forwarded-For; 0 ignores the header
    # the exchange
    venue: str = "us"  # us (Binance.US), com (Binance.com) or vision (Binance's data-only host)
    fallback_venue: str = ""  # the venue to use if the first one refuses this region
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "SOLUSDT")  # what to run; the first is the default
    symbols_max: int = 10  # how many may run at once, those that clients ask for included
    rest_url: str = ""  # replaces the venue's REST address
    stream_url: str = ""  # replaces the venue's stream address
    # the book and the view
    depth_limit: int = 5000  # levels a side requested per snapshot
    levels_max: int = 20_000  # levels a side kept; the worst beyond it are dropped
    audit_every_s: float = 600.0  # how often the whole book is compared with a new snapshot
    publish_interval_ms: int = 80  # the minimum time between two views of a symbol
    trades_kept: int = 30  # trades in a view
    stale_after_s: float = 5.0  # silence of a busy symbol's book before it is stale
    backfill_days: int = 30  # how far back missing minutes are fetched at the start; 0: only the last 1,000 minutes
    # bus and storage
    namespace: str = "pulse"  # how names on a shared Redis begin; deployments that must not mix need different ones
    redis_url: str = field(default="", repr=False)  # a Redis or Valkey server; empty: within this process
    database_url: str = field(default="", repr=False)  # a PostgreSQL server; empty: SQLite
    sqlite_path: str = "pulse.sqlite3"  # the SQLite file used without DATABASE_URL
    spool_path: str = "pulse.spool.ndjson"  # where closed candles wait on disk while the store is unavailable
    retention_days: int = 730  # how long candles are kept; 0: for ever
    history_mb: int = 1024  # the recorded past of the books on disk, beside the SQLite file; 0: in memory alone
    history_ring_mb: int = 32  # its newest part in memory; 0 with history_mb=0: nothing is recorded
    state_path: str = "pulse.state.json"  # where the end of an exchange's ban is kept across restarts
    log_level: str = "INFO"  # DEBUG, INFO, WARNING or ERROR
    log_format: str = "text"  # text, or json: one object a line

    @property
    def past_days(self) -> int:
        """Days of missing minutes to fetch: no more than are kept."""
        return min(self.backfill_days, self.retention_days or self.backfill_days)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings. Raises one SettingsError that lists every error, one sentence a line."""
        values: dict[str, Any] = {}
        errors: list[str] = []
        known = {environment_name(f.name) for f in fields(cls)}
        for name in environment:
            if name.startswith("PULSE_") and name not in known and not name.startswith("PULSE_TEST_"):
                errors.append(_unknown(name))
        for spec in fields(cls):
            name = environment_name(spec.name)
            if environment.get(name, "") == "":
                continue
            try:
                values[spec.name] = _READERS[spec.name](environment[name])
            except ValueError as error:
                errors.append(f"{name} must be {error}, not {_shown(spec.name, environment[name])}.")
        if "token" in values and values["token"] == values.get("operator_token"):
            errors.append("PULSE_OPERATOR_TOKEN must differ from PULSE_TOKEN: every reader would be the operator.")
        if errors:
            raise SettingsError("\n".join(errors))
        return cls(**values)


def environment_name(setting: str) -> str:
    """Return the environment variable that a setting is read from."""
    return PLATFORM_NAMES.get(setting, "PULSE_" + setting.upper())


def _unknown(name: str) -> str:
    """Return what to do about a variable with our prefix that is no setting."""
    platform_name = PLATFORM_NAMES.get(name.removeprefix("PULSE_").lower())
    if platform_name is not None:
        return f"{name} is not a setting of Pulse: its name is {platform_name}, as platforms have it."
    return f"{name} is not a setting of Pulse; docs/configuration.md lists all of them."


def _shown(setting: str, text: str) -> str:
    """Return a wrong value as an error text may show it: an address may hold a password, and text may be long."""
    if setting in ("token", "operator_token"):
        return f"the given value of {len(text)} characters (not shown)"
    if setting in ("redis_url", "database_url"):
        return "the given value (not shown: it may hold a password)"
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return read


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text, re.ASCII) or not low <= float(text) <= high:
            raise ValueError(f"a number of seconds from {low:g} to {high:g}")
        return float(text)

    return read


def _choice(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"one of {', '.join(a for a in allowed if a)}")
        return text

    return read


PERCENT_ENCODED = (
    "an address whose user name and password are percent-encoded (@ as %40, : as %3A, / as %2F, ? as %3F, # as %23, "
    "% as %25)"
)
"""What an address must be in which a character of the password is read as the end of the password."""
SINGLE_SERVER = "the address of a single server (Redis Cluster and Sentinel are not supported)"
MANY_SERVERS = re.compile(r"(redis|rediss|valkey|valkeys)?[+-]?(sentinel|cluster)s?", re.ASCII)


def _address(*schemes: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        expected = f"an address that starts with {' or '.join(s + '://' for s in schemes)}"
        if text.partition("://")[0] not in schemes:
            raise ValueError(expected)
        if _needs_encoding(text):
            raise ValueError(PERCENT_ENCODED)
        try:
            parts = urlsplit(text)
            hosts = parts.netloc.rpartition("@")[2].split(",")
            for host in hosts:
                _ = urlsplit(f"//{host}").port
        except ValueError:
            raise ValueError("an address with a valid host and port") from None
        if not (any(hosts) or parts.path or parts.query):
            raise ValueError(expected)
        return text.rstrip("/")

    return read


def _needs_encoding(text: str) -> bool:
    """Return whether a character of the user name or password would be read as one of the address itself."""
    if not text.isprintable():
        return True  # a line end, or bytes that are not UTF-8
    authority, _, rest = re.sub(r"[/?#]", " ", text.partition("://")[2]).partition(" ")
    user, at, _ = authority.rpartition("@")
    if at:
        return "@" in user or re.search(r"%(?![0-9A-Fa-f]{2})", user) is not None or "[" in user or "]" in user
    # An @ behind the host is the end of a password that holds one of / ? #, unless it is the value of a parameter.
    return ":" in authority and re.match(r"[^=&@]*@", rest) is not None


def _redis_address(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if MANY_SERVERS.fullmatch(scheme) or "," in re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]:
        raise ValueError(SINGLE_SERVER)
    return _address("redis", "rediss", "unix")(text)


def _symbols(text: str) -> tuple[str, ...]:
    names = dict.fromkeys(symbol_name(part.strip()) for part in text.split(",") if part.strip())
    symbols = tuple(name for name in names if name is not None)
    if not 1 <= len(symbols) <= SYMBOLS_MAX or len(symbols) < len(names):
        raise ValueError(f"1 to {SYMBOLS_MAX} symbols such as BTCUSDT,ETHUSDT")
    return symbols


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(dict.fromkeys(part.strip().rstrip("/") for part in text.split(",") if part.strip()))
    if not all(o == "*" or re.fullmatch(r"https?://[^/\s?#]+", o, re.ASCII) for o in origins):
        raise ValueError("* or a list of origins such as https://terminal.example.com")
    return origins


def _host_name(text: str) -> str:
    name = text.strip().lower().removesuffix(".")
    if not HOST_NAME.fullmatch(name):
        raise ValueError("a host name such as terminal.example.com")
    return name


def _hosts(text: str) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(_host_name(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise ValueError(
            "* or a list of host names without scheme and port, such as terminal.example.com,*.example.org"
        ) from None


def _token(text: str) -> str:
    if not re.fullmatch(rf"[!-~]{{{TOKEN_CHARS_MIN},{TOKEN_CHARS_MAX}}}", text, re.ASCII):
        raise ValueError(
            f"{TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} printable ASCII characters without spaces, for example what "
            '`python -c "import secrets; print(secrets.token_urlsafe())"` prints'
        )
    return text


def _bind(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):)?([0-9]{1,5})", text, re.ASCII)
    if match is None or int(match[2]) > PORT_MAX:
        raise ValueError("a port of 127.0.0.1 such as 9000, or an address with a port such as 10.0.0.5:9000")
    return (match[1] or "127.0.0.1").strip("[]"), int(match[2])


def _namespace(text: str) -> str:
    if not NAMESPACE.fullmatch(text):
        raise ValueError("1 to 32 of a-z, 0-9, - and _, beginning with a letter or digit")
    return text


def _text(text: str) -> str:
    return text


_READERS: dict[str, Callable[[str], Any]] = {
    "host": _text,
    "port": _whole(0, PORT_MAX),
    "token": _token,
    "operator_token": _token,
    "operator_bind": _bind,
    "hosts": _hosts,
    "platform_host": _host_name,
    "allowed_origins": _origins,
    "clients_max": _whole(1, 100_000),
    "clients_per_address_max": _whole(1, 100_000),
    "requests_per_address_s": _whole(0, 100_000),
    "trusted_hops": _whole(0, 10),
    "venue": _choice(*VENUES),
    "fallback_venue": _choice("", *VENUES),
    "symbols": _symbols,
    "symbols_max": _whole(1, SYMBOLS_MAX),
    "rest_url": _address("http", "https"),
    "stream_url": _address("ws", "wss"),
    "depth_limit": _whole(100, 5000),
    "levels_max": _whole(100, 100_000),
    "audit_every_s": _seconds(10, 86_400),
    "publish_interval_ms": _whole(0, 10_000),
    "trades_kept": _whole(1, 1000),
    "stale_after_s": _seconds(0.5, 3600),
    "backfill_days": _whole(0, 3650),
    "namespace": _namespace,
    "redis_url": _redis_address,
    "database_url": _address("postgres", "postgresql"),
    "sqlite_path": _text,
    "spool_path": _text,
    "retention_days": _whole(0, 36_500),
    "history_mb": _whole(0, 10_000_000),
    "history_ring_mb": _whole(0, 100_000),
    "state_path": _text,
    "log_level": _choice("DEBUG", "INFO", "WARNING", "ERROR"),
    "log_format": _choice(*FORMATS),
}
