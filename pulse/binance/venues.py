"""The addresses and request limits of each Binance venue. Nothing here makes a request.

Sources: the venues' own API documentation (Binance.com as of 2026-07, Binance.US as of 2024-06).
"""

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from pulse.errors import SettingsError

BINANCE_DOMAINS = ("binance.com", "binance.us", "binance.vision")


@dataclass(frozen=True, slots=True)
class Weights:
    """The request weight of each REST call. `depth` pairs each largest number of levels with its weight, rising."""

    depth: tuple[tuple[int, int], ...]
    klines: int
    agg_trades: int
    exchange_info: int
    prices: int  # of all symbols in one call
    day_tickers: int  # of all symbols in one call
    time: int = 1

    def depth_weight(self, limit: int) -> int:
        """Return the weight of a snapshot of this many levels a side."""
        return next((weight for levels, weight in self.depth if limit <= levels), self.depth[-1][1])


COM = Weights(
    depth=((100, 5), (500, 25), (1000, 50), (5000, 250)), klines=2, agg_trades=4, exchange_info=20, prices=4,
    day_tickers=80,
)  # fmt: skip
US = Weights(
    depth=((100, 1), (500, 5), (1000, 10), (5000, 50)), klines=1, agg_trades=1, exchange_info=10, prices=2,
    day_tickers=40,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Venue:
    """One Binance venue. `weight_per_minute` is its published request-weight limit per address."""

    name: str
    title: str
    rest_url: str
    stream_url: str
    weights: Weights
    weight_per_minute: int


VENUES = {
    venue.name: venue
    for venue in (
        Venue("us", "Binance.US", "https://api.binance.us", "wss://stream.binance.us:9443", US, 1200),
        Venue("com", "Binance.com", "https://api.binance.com", "wss://stream.binance.com:9443", COM, 6000),
        Venue(
            "vision",
            "Binance's data-only host",
            "https://data-api.binance.vision",
            "wss://data-stream.binance.vision",
            COM,
            6000,
        ),
    )
}


def venue_of(name: str, rest_url: str = "", stream_url: str = "") -> Venue:
    """Return the venue of this name, with its addresses replaced by those that are given.

    Raises SettingsError for any other host than Binance's own and the loopback.
    """
    for setting, url in (("PULSE_REST_URL", rest_url), ("PULSE_STREAM_URL", stream_url)):
        host = urlsplit(url).hostname or ""
        if url and not _is_allowed(host):
            raise SettingsError(
                f"{setting} must be on one of Binance's hosts ({', '.join(BINANCE_DOMAINS)}) or on this machine, "
                f"not on {host!r}."
            )
    venue = VENUES[name]
    return replace(venue, rest_url=rest_url or venue.rest_url, stream_url=stream_url or venue.stream_url)


def _is_allowed(host: str) -> bool:
    if host in ("localhost", "127.0.0.1", "::1"):
        return True
    return any(host == domain or host.endswith("." + domain) for domain in BINANCE_DOMAINS)
