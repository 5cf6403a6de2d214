"""The key by which the connections and clients of one address are counted."""

from ipaddress import IPv4Address, IPv6Address, ip_address

UNKNOWN_ADDRESS = "unknown"
IPV6_HOST_BITS = 64
"""A household has a whole /64, so its addresses count as one."""

LOOPBACK_KEYS = ("127.0.0.1", f"::/{IPV6_HOST_BITS}")
"""The keys of this machine's own addresses; the other addresses of that /64 are never those of a peer."""


def address_key(text: str) -> str | None:
    """Return an IPv4 address itself, and the /64 of an IPv6 address; None if the text is no address.

    An address may be written as proxies do: bare, in brackets, or with a port.
    """
    address = _parse(text.strip())
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return f"{IPv6Address(int(address) >> IPV6_HOST_BITS << IPV6_HOST_BITS)}/{IPV6_HOST_BITS}"
        address = address.ipv4_mapped
    return None if address is None else str(address)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_loopback(text: str) -> bool:
    """Return whether an address is one of this machine itself."""
    address = _parse(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback
