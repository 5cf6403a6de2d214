"""The addresses of the venues, the weights of their calls, and which other addresses are accepted."""

from itertools import pairwise

import pytest

from pulse.binance.venues import COM, US, VENUES, Weights, venue_of
from pulse.errors import SettingsError
from pulse.settings import VENUES as SETTING_VENUES


@pytest.mark.parametrize(
    ("limit", "com", "us"),
    [
        (1, 5, 1),
        (100, 5, 1),
        (101, 25, 5),
        (500, 25, 5),
        (501, 50, 10),
        (1000, 50, 10),
        (5000, 250, 50),
        (9999, 250, 50),
    ],
)
def test_weight_of_a_snapshot_depends_on_its_depth(limit: int, com: int, us: int) -> None:
    """The weight follows each step of the venues' tables, and the last one beyond it."""
    assert (COM.depth_weight(limit), US.depth_weight(limit)) == (com, us)


@pytest.mark.parametrize("weights", [COM, US], ids=["com", "us"])
def test_weights_rise_with_depth(weights: Weights) -> None:
    """The tables are in rising order, because the first entry that fits is used."""
    assert all(before < after for before, after in pairwise(weights.depth))


def test_every_venue_can_be_chosen() -> None:
    """The setting accepts the same venues as the table holds."""
    assert set(VENUES) == set(SETTING_VENUES)


def test_venue_has_its_published_addresses() -> None:
    """They hold where no others are given."""
    venue = venue_of("us")

    assert (venue.title, venue.weight_per_minute) == ("Binance.US", 1200)
    assert (venue.rest_url, venue.stream_url) == ("https://api.binance.us", "wss://stream.binance.us:9443")


@pytest.mark.parametrize(
    ("rest_url", "stream_url"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080"),
        ("http://localhost:1", "ws://[::1]:1"),
        ("https://api-gcp.binance.com", "wss://data-stream.binance.vision"),
        ("https://BINANCE.US", ""),
    ],
)
def test_addresses_of_the_exchange_or_this_machine_are_accepted(rest_url: str, stream_url: str) -> None:
    """A given address replaces the published one, each by itself."""
    venue = venue_of("us", rest_url, stream_url)

    assert venue.rest_url == rest_url
    assert venue.stream_url == (stream_url or "wss://stream.binance.us:9443")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com", "https://binance.com.example.com", "https://evilbinance.com", "http://10.0.0.1",
        "https://api.binance.com@example.com", "http://169.254.169.254/latest", "http://127.0.0.1.example.com",
    ],
)  # fmt: skip
@pytest.mark.parametrize("setting", ["PULSE_REST_URL", "PULSE_STREAM_URL"])
def test_any_other_host_is_refused(setting: str, url: str) -> None:
    """An address elsewhere is refused in one sentence that names the setting."""
    addresses = {"rest_url": url} if setting == "PULSE_REST_URL" else {"stream_url": url}

    with pytest.raises(SettingsError, match=f"^{setting} must be on one of Binance's hosts .* not on '[^']+'.$"):
        venue_of("us", **addresses)
