"""The key of an address: how connections and clients of one household are counted together."""

import pytest

from pulse.server.addresses import address_key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:80 ", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("[2001:db8::1]:80", "2001:db8::/64"),
        ("", None),
        ("unknown", None),
        ("1.2.3.4.5", None),
    ],
)
def test_the_key_of_an_address(text: str, key: str | None) -> None:
    """An IPv4 address is its own, however it is written; an IPv6 address is its /64."""
    assert address_key(text) == key
