"""Leases on a real server: one owner at a time, tokens that only grow, and what becomes of both in every outage."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import redis

from pulse.bus import lease_keeper
from pulse.bus.lease_keeper import LeaseKeeper, probe_leases
from pulse.bus.leases import Leases, Role
from pulse.clock import elapsed_s
from pulse.errors import CheckFailed
from tests.support.bus import PREFIX
from tests.support.services import ValkeyServer
from tests.support.waiting import until

BTC, ETH = "BTCUSDT", "ETHUSDT"


class Process:
    """What one process is to the others: its leases, whether its bus is well, and which symbols its clients watch."""

    def __init__(self, url: str, instance: str, seen: int) -> None:
        self.is_bus_ok = True
        self.watched: dict[str, str] = {}
        self.leases = Leases(
            instance, elapsed_s, watching=lambda symbol: self.watched.get(symbol, ""), seen_token=lambda _: seen
        )
        self.keeper = LeaseKeeper(url, PREFIX, instance, self.leases, elapsed_s, lambda: self.is_bus_ok)
        self.task: asyncio.Task[None] | None = None

    def role(self, symbol: str = BTC) -> Role:
        """Return what the process is to a symbol."""
        return self.leases.role(symbol)

    async def until(self, role: Role, symbol: str = BTC) -> None:
        """Wait until the process is this to a symbol."""
        await until(lambda: self.role(symbol) is role)

    def token(self, symbol: str = BTC) -> int:
        """Return the token of a symbol that the process owns."""
        token = self.leases.token(symbol)
        assert token is not None
        return token

    async def freeze(self) -> None:
        """Ask and answer nothing from now on, as a process that is stopped."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])


@asynccontextmanager
async def process(
    url: str, instance: str, *symbols: str, seen: int = 0, first: Role | None = None
) -> AsyncIterator[Process]:
    """Run a process that has symbols open, and wait until it is `first` to BTC."""
    one = Process(url, instance, seen)
    for symbol in symbols or (BTC,):
        one.leases.open(symbol)
    one.task = asyncio.create_task(one.keeper.run())
    try:
        if first is not None:
            await one.until(first)
        yield one
    finally:
        await one.freeze()
        await one.keeper.aclose()


async def test_one_process_owns_a_symbol(redis_url: str) -> None:
    """The first that asks; a symbol that only another has open is that one's."""
    async with (
        process(redis_url, "a", first=Role.OWNER) as first,
        process(redis_url, "b", BTC, ETH, first=Role.FOLLOWER) as second,
    ):
        await second.until(Role.OWNER, ETH)
        assert first.role() is Role.OWNER


async def test_a_lease_is_renewed(redis_url: str) -> None:
    """Over more than its time its token stays the same."""
    async with process(redis_url, "a", first=Role.OWNER) as owner:
        token = owner.token()
        with redis.Redis.from_url(redis_url) as client:
            client.pexpire(f"{PREFIX}lease:{BTC}", 900)
            await until(lambda: client.pttl(f"{PREFIX}lease:{BTC}") > 1000)
        assert owner.token() == token


async def test_a_lease_that_is_given_back_is_taken_at_once(redis_url: str) -> None:
    """With a higher token: the process ends, or the symbol was closed there."""
    async with process(redis_url, "b") as second, process(redis_url, "a") as first:
        await until(lambda: {first.role(), second.role()} == {Role.OWNER, Role.FOLLOWER})
        owner, follower = (first, second) if first.role() is Role.OWNER else (second, first)
        token = owner.token()
        owner.leases.close(BTC)
        await follower.until(Role.OWNER)
        assert follower.token() > token


@pytest.mark.proves("owner-gone")
async def test_the_lease_of_a_process_that_stops_goes_to_another(redis_url: str) -> None:
    """The one that was stopped knows by its own clock that it is no owner, before the other is one."""
    async with (
        process(redis_url, "a", first=Role.OWNER) as owner,
        process(redis_url, "b", first=Role.FOLLOWER) as other,
    ):
        token = owner.token()
        await owner.freeze()
        await until(lambda: other.role() is Role.OWNER or owner.role() is not Role.OWNER)
        assert (owner.role(), other.role()) == (Role.UNDECIDED, Role.FOLLOWER)
        await other.until(Role.OWNER)
        assert other.token() > token
        owner.task = asyncio.create_task(owner.keeper.run())
        await owner.until(Role.FOLLOWER)


@pytest.mark.proves("owner-gone")
async def test_an_owner_whose_bus_is_lost_makes_room(redis_url: str) -> None:
    """Its views do not reach the others, so another takes over, and it follows once the bus is back."""
    async with (
        process(redis_url, "a", first=Role.OWNER) as owner,
        process(redis_url, "b", first=Role.FOLLOWER) as other,
    ):
        owner.is_bus_ok = False
        await other.until(Role.OWNER)
        await owner.until(Role.ALONE)
        owner.is_bus_ok = True
        await owner.until(Role.FOLLOWER)


@pytest.mark.proves("leases-lost")
async def test_an_emptied_server_gives_higher_tokens(redis_url: str) -> None:
    """It has lost the leases and the counters; there is one owner again."""
    async with (
        process(redis_url, "a", first=Role.OWNER) as first,
        process(redis_url, "b", first=Role.FOLLOWER) as second,
    ):
        token = first.token()
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        await until(lambda: any(one.leases.token(BTC) not in (None, token) for one in (first, second)))
        await until(lambda: {first.role(), second.role()} == {Role.OWNER, Role.FOLLOWER})
        assert (first if first.role() is Role.OWNER else second).token() > token


async def test_a_token_is_above_what_was_seen(redis_url: str) -> None:
    """Also above one that lies ahead of the server's clock and is in no counter."""
    async with process(redis_url, "a", seen=10**15, first=Role.OWNER) as owner:
        assert owner.token() == 10**15 + 1


async def test_a_refused_token_is_replaced(redis_url: str) -> None:
    """The process that holds the lease takes a higher token for it."""
    async with process(redis_url, "a", first=Role.OWNER) as owner:
        owner.leases.refuse(BTC, 10**15)
        await owner.until(Role.OWNER)
        assert owner.token() == 10**15 + 1


async def test_tokens_only_grow(redis_url: str) -> None:
    """From owner to owner."""
    tokens = []
    for instance in ("a", "b", "a", "c"):
        async with process(redis_url, instance, first=Role.OWNER) as owner:
            tokens.append(owner.token())

    assert all(earlier < later for earlier, later in pairwise(tokens))


async def test_an_owner_is_told_who_follows_and_watches(redis_url: str) -> None:
    """What each of the others watches, and that they no longer do, or have gone."""
    async with process(redis_url, "a", first=Role.OWNER) as owner:
        assert not owner.leases.is_followed(BTC)
        async with (
            process(redis_url, "b", first=Role.FOLLOWER) as follower,
            process(redis_url, "c", first=Role.FOLLOWER) as other,
        ):
            await until(lambda: owner.leases.is_followed(BTC))
            assert owner.leases.watching_elsewhere(BTC) == ()
            follower.watched[BTC] = ";"
            other.watched[BTC] = "10,50;1000.0"
            await until(lambda: sorted(owner.leases.watching_elsewhere(BTC)) == ["10,50;1000.0", ";"])
            follower.watched.clear()
            await until(lambda: owner.leases.watching_elsewhere(BTC) == ("10,50;1000.0",))
        await until(lambda: owner.leases.watching_elsewhere(BTC) == ())
        await until(lambda: not owner.leases.is_followed(BTC))


@pytest.mark.proves("leases-lost")
async def test_a_killed_server_leaves_everyone_alone(
    own_valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is the owner, each has its own book; when the server is back, the last owner is it again."""
    async with (
        process(own_valkey.url, "a", first=Role.OWNER) as owner,
        process(own_valkey.url, "b", first=Role.FOLLOWER) as other,
    ):
        token = owner.token()
        with caplog.at_level(logging.WARNING, lease_keeper.__name__):
            own_valkey.kill()
            await owner.until(Role.ALONE)
            await other.until(Role.ALONE)
        assert len(caplog.messages) == 2  # one of each process, however often it tries
        own_valkey.start()
        await owner.until(Role.OWNER)
        await other.until(Role.FOLLOWER)
        assert owner.token() > token


async def test_a_paused_server_ends_leases_by_the_owners_clock(own_valkey: ValkeyServer) -> None:
    """A server that does not answer keeps nobody an owner."""
    async with process(own_valkey.url, "a", first=Role.OWNER) as owner:
        own_valkey.pause()
        await owner.until(Role.ALONE)
        own_valkey.resume()
        await owner.until(Role.OWNER)


async def test_closing_is_bounded_when_the_server_is_paused(own_valkey: ValkeyServer) -> None:
    """The leases end by themselves."""
    async with process(own_valkey.url, "a", first=Role.OWNER):
        own_valkey.pause()
    own_valkey.resume()


async def test_many_symbols_are_one_round(redis_url: str) -> None:
    """More than one call takes, each with its own token."""
    symbols = [f"S{number}USDT" for number in range(lease_keeper.SYMBOLS_PER_CALL + 1)]
    async with process(redis_url, "a", *symbols) as owner:
        await owner.until(Role.OWNER, symbols[-1])
        assert all(owner.role(symbol) is Role.OWNER for symbol in symbols)


async def test_the_check_needs_scripts(redis_url: str, own_valkey: ValkeyServer) -> None:
    """A user that may not run scripts is found before the start."""
    await probe_leases(redis_url, PREFIX)
    with redis.Redis.from_url(own_valkey.url) as client:
        client.acl_setuser("plain", enabled=True, nopass=True, categories=["+@all"], commands=["-eval"], keys="*")
    with pytest.raises(CheckFailed, match=r"must let this user run scripts \(EVAL\)"):
        await probe_leases(own_valkey.url.replace("redis://", "redis://plain:x@"), PREFIX)
