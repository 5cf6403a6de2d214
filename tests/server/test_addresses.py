"""The key of an address: how connections and clients of one household are counted together."""

import pytest

from pulse.server.addresses import LOOPBACK_KEYS, address_key, is_loopback


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


@pytest.mark.parametrize(
    ("text", "is_own"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False),
        ("0.0.0.0", False), ("::ffff:10.0.0.1", False), ("2001:db8::1", False), ("", False), ("localhost", False),
    ],
)  # fmt: skip
def test_an_address_of_this_machine(text: str, is_own: bool) -> None:
    """Those of loopback alone."""
    assert is_loopback(text) is is_own


def test_the_keys_of_this_machine() -> None:
    """Of its usual addresses."""
    assert (address_key("127.0.0.1"), address_key("::1")) == LOOPBACK_KEYS
