"""Addresses of PostgreSQL servers as users and managed hosts write them, and the libpq connection strings of them."""

import re
from ipaddress import ip_address
from urllib.parse import unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from pulse.errors import StoreUnavailable

FOREIGN_PARAMETERS = {
    "pgbouncer", "connection_limit", "pool_timeout", "socket_timeout", "statement_cache_size", "schema", "supa",
    "workaround", "uselibpqcompat", "pool_mode", "pool_size", "max_pool_size", "prepared_statements",
    "prepareThreshold", "statement_cache_mode", "default_query_exec_mode",
}  # fmt: skip
"""Parameters that managed hosts print for Prisma, node-postgres and other clients, and that mean nothing here: there
is a small pool of our own, no statement is prepared, and the schema is `pulse`. None of them weakens security."""
PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}", re.ASCII)
"""A name that an error text may repeat."""


def conninfo_of(url: str) -> str:
    """Return the address as a libpq connection string, which requires TLS for a remote host unless a mode is set.

    Raises StoreUnavailable for an address that libpq cannot parse.
    """
    try:
        given = conninfo_to_dict(_without_foreign_parameters(url))
    except (psycopg.Error, UnicodeError):
        # libpq's own text may quote the address, and with it the password.
        raise StoreUnavailable(
            "DATABASE_URL is not an address that a PostgreSQL client can read; expected "
            "postgresql://user:password@host:port/database, its user name and password percent-encoded (@ as %40)."
        ) from None
    if given.get("sslmode") == "no-verify":
        given["sslmode"] = "require"  # node-postgres's name for the same: encrypted, the certificate not checked
    hosts = str(given.get("host") or given.get("hostaddr") or "").split(",")
    # "prefer" is libpq's default when neither the address nor its environment variable sets a mode.
    is_default = any(option.keyword == b"sslmode" and option.val == b"prefer" for option in Conninfo.get_defaults())
    if "sslmode" not in given and is_default and not all(_is_local_host(host) for host in hosts):
        given["sslmode"] = "require"
    return make_conninfo("", **given)


def _without_foreign_parameters(url: str) -> str:
    """Return the address without parameters for other clients. Raise StoreUnavailable, naming one that is unknown."""
    address, _, query = url.partition("?")
    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | {"ssl"}  # ssl=true is libpq's alias
    kept = []
    for parameter in query.split("&") if query else ():
        name = unquote(parameter.partition("=")[0])
        if name in FOREIGN_PARAMETERS:
            continue
        if name not in known and PARAMETER_NAME.fullmatch(name):
            raise StoreUnavailable(
                f"DATABASE_URL has a parameter that a PostgreSQL client does not know: {name}. Remove it from the "
                "address; if it is part of the password, percent-encode that (? as %3F, & as %26)."
            )
        kept.append(parameter)
    return f"{address}?{'&'.join(kept)}" if kept else address


def _is_local_host(host: str) -> bool:
    if not host or host[0] in "/@" or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
