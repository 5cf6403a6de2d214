"""The bus through a server: what travels between processes, and what a client notices when the server fails.

Each test that kills or pauses a server has one of its own. How long a failure may last is the sum of bounds of the bus.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis

from pulse.bus import redis as module
from pulse.bus.redis import LATEST_LIFE_S, RedisBus, probe
from pulse.errors import CheckFailed, SettingsError
from tests.support.bus import BTC, ETH, PREFIX, AnyBus, Delivered, running
from tests.support.programs import free_port
from tests.support.proxy import CERTIFICATE, Proxy, tls_context
from tests.support.services import ValkeyServer
from tests.support.waiting import WAIT_S, until


@asynccontextmanager
async def process(url: str, *, prefix: str = PREFIX, until_ok: bool = True) -> AsyncIterator[tuple[AnyBus, Delivered]]:
    """Run a bus, through the server unless told otherwise: all that one process is to the others."""
    async with running(lambda deliver: RedisBus(url, prefix, deliver)) as (bus, delivered):
        if until_ok:
            await until(lambda: bus.health().ok)
        yield bus, delivered


@asynccontextmanager
async def hanging_up_on(port: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Something on this port that hangs up on every caller, and the callers it had."""
    callers: list[asyncio.StreamWriter] = []

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", port)
    try:
        yield callers
    finally:
        server.close()
        await server.wait_closed()


# --- between processes


async def test_a_view_reaches_the_other_process(redis_url: str) -> None:
    """What one process publishes is delivered in both."""
    async with process(redis_url) as (ours, ours_delivered), process(redis_url) as (_, theirs_delivered):
        ours.publish(BTC, b"view")
        await ours_delivered.until(BTC, b"view")
        await theirs_delivered.until(BTC, b"view")


async def test_a_newcomer_gets_the_stored_latest(redis_url: str) -> None:
    """A process that comes later begins with what is stored, without waiting for the next view."""
    async with process(redis_url) as (ours, delivered):
        ours.publish(BTC, b"view")
        await delivered.until(BTC, b"view")
        async with process(redis_url) as (_, newcomer):
            await newcomer.until(BTC, b"view")


async def test_names_on_the_server(redis_url: str) -> None:
    """A view is published on the prefix and its channel, and stored for a while with `latest:` between them."""
    with redis.Redis.from_url(redis_url) as client, client.pubsub() as channel:
        channel.subscribe(f"{PREFIX}{BTC}")
        async with process(redis_url) as (ours, delivered):
            ours.publish(BTC, b"view")
            await delivered.until(BTC, b"view")
        messages = [channel.get_message(timeout=WAIT_S) for _ in range(2)]

        assert [message and message["data"] for message in messages] == [1, b"view"]
        assert client.get(f"{PREFIX}latest:{BTC}") == b"view"
        assert 0 < client.ttl(f"{PREFIX}latest:{BTC}") <= LATEST_LIFE_S


@pytest.mark.proves("two-sources")
@pytest.mark.parametrize(
    "prefix",
    ["staging:us:exchange:", "pulse:com:exchange:", "pulse:us:simulation:"],
    ids=["namespace", "venue", "source"],
)
async def test_sources_on_one_server_are_kept_apart(redis_url: str, prefix: str) -> None:
    """With another namespace, venue or source, a process gets nothing of ours: neither published nor stored."""
    async with process(redis_url) as (ours, ours_delivered), process(redis_url, prefix=prefix) as (theirs, early):
        ours.publish(BTC, b"ours")
        theirs.publish(BTC, b"theirs")
        await ours_delivered.until(BTC, b"ours")
        await early.until(BTC, b"theirs")
        async with process(redis_url, prefix=prefix) as (_, late):
            await late.until(BTC, b"theirs")
            # What comes after a round trip of the last process has passed every earlier message.
            assert {payload for _, payload in early.messages + late.messages} == {b"theirs"}
        assert {payload for _, payload in ours_delivered.messages} == {b"ours"}


async def test_a_subscription_cut_by_the_server_misses_nothing(own_valkey: ValkeyServer) -> None:
    """A view of another process, published while our subscription was cut, is taken from what is stored."""
    async with process(own_valkey.url) as (_, delivered), process(own_valkey.url) as (theirs, _):
        with redis.Redis.from_url(own_valkey.url) as client:
            client.client_kill_filter(_type="pubsub")
        theirs.publish(BTC, b"meanwhile")
        await delivered.until(BTC, b"meanwhile")


# --- a server that is away


async def test_a_server_away_at_the_start(own_valkey: ValkeyServer) -> None:
    """Views stay in the process until the server comes, and then go through it."""
    own_valkey.kill()
    async with process(own_valkey.url, until_ok=False) as (bus, delivered):
        bus.publish(BTC, b"alone")
        await delivered.until(BTC, b"alone")
        await until(lambda: bus.health().detail.startswith("Redis: "))
        own_valkey.start()
        await until(lambda: bus.health().ok)


@pytest.mark.proves("redis-killed")
async def test_browsers_go_on_while_the_server_is_dead(own_valkey: ValkeyServer) -> None:
    """After the server is killed, each view is still delivered within its own process."""
    async with process(own_valkey.url) as (bus, delivered):
        own_valkey.kill()
        for number in range(30):
            bus.publish(BTC, b"%d" % number)
            await delivered.until(BTC, b"%d" % number)

        assert not bus.health().ok


async def test_a_view_on_its_way_to_a_dying_server_is_not_lost(own_valkey: ValkeyServer) -> None:
    """The newest view arrives even if it is the last one, and was handed over just before the server died."""
    async with process(own_valkey.url) as (bus, delivered):
        own_valkey.kill()
        bus.publish(BTC, b"last one")
        await delivered.until(BTC, b"last one")


@pytest.mark.proves("redis-killed")
async def test_a_server_that_comes_back_empty_is_filled(own_valkey: ValkeyServer) -> None:
    """After a restart the newest views are stored and published again, though no new one was made."""
    async with process(own_valkey.url) as (ours, delivered):
        ours.publish(BTC, b"btc")
        ours.publish(ETH, b"eth")
        await delivered.until(ETH, b"eth")
        own_valkey.restart()
        async with process(own_valkey.url) as (_, newcomer):
            await newcomer.until(BTC, b"btc")
            await newcomer.until(ETH, b"eth")


async def test_the_way_between_processes_comes_back(own_valkey: ValkeyServer) -> None:
    """However long the server was away, views travel between processes again once it is back."""
    async with process(own_valkey.url) as (ours, _), process(own_valkey.url) as (_, theirs_delivered):
        own_valkey.kill()
        async with hanging_up_on(own_valkey.port) as callers:
            await until(lambda: len(callers) >= 24)  # by then the waits between attempts are at their bound
        own_valkey.start()
        ours.publish(BTC, b"again")
        await theirs_delivered.until(BTC, b"again")


# --- a server that hangs


@pytest.mark.proves("redis-hangs")
async def test_a_hung_server_delays_one_view(own_valkey: ValkeyServer) -> None:
    """The view on its way to a stopped server is given up and delivered directly; the next one without any wait."""
    async with process(own_valkey.url) as (bus, delivered):
        own_valkey.pause()
        bus.publish(BTC, b"first")
        await delivered.until(BTC, b"first")
        bus.publish(BTC, b"second")

        assert delivered.latest(BTC) == b"second"


def test_the_times_of_an_outage_follow_from_the_bounds() -> None:
    """A view waits half a second at most; a hung server is noticed in 3 s, its return in 2 s; closing takes 1 s."""
    assert module.SEND_TIMEOUT_S <= 0.5
    assert max(module.HEARTBEAT_S + module.SEND_TIMEOUT_S, module.SILENCE_MAX_S) < 3.0
    assert module.RETRY_MAX_S <= 1.0
    assert module.RETRY_MAX_S + module.SEND_TIMEOUT_S < 2.0
    assert 2 * module.CLOSE_TIMEOUT_S < 1.0


@pytest.mark.proves("redis-hangs")
async def test_a_hung_server_is_noticed_without_views(own_valkey: ValkeyServer) -> None:
    """Even when nothing is published, a stopped server is noticed, by our own heartbeat that stays away."""
    async with process(own_valkey.url) as (bus, _):
        assert bus.health().since_s is None
        paused_s = time.time()
        own_valkey.pause()
        await until(lambda: not bus.health().ok)
        first = bus.health()
        await until(lambda: bus.health().detail == "Redis does not answer.")

        assert first.since_s is not None
        assert first.since_s >= paused_s
        assert bus.health().since_s == first.since_s


async def test_a_silent_subscription_is_noticed(own_valkey: ValkeyServer) -> None:
    """A connection that goes silent without being closed is noticed, and used again when data comes."""
    async with Proxy(own_valkey.port) as proxy, process(f"redis://127.0.0.1:{proxy.port}/0") as (bus, _):
        proxy.mute()
        await until(lambda: not bus.health().ok)
        proxy.unmute()
        await until(lambda: bus.health().ok)


async def test_a_server_that_resumes_is_used_again(own_valkey: ValkeyServer) -> None:
    """When it goes on, views reach the other process again, the newest last."""
    async with process(own_valkey.url) as (ours, _), process(own_valkey.url) as (theirs, theirs_delivered):
        own_valkey.pause()
        ours.publish(BTC, b"under way")
        await until(lambda: not ours.health().ok and not theirs.health().ok)
        ours.publish(BTC, b"newest")
        own_valkey.resume()
        await theirs_delivered.until(BTC, b"newest")
        await until(lambda: ours.health().ok and theirs.health().ok)
        with redis.Redis.from_url(own_valkey.url) as client:
            await until(lambda: client.get(f"{PREFIX}latest:{BTC}") == b"newest")


async def test_closing_does_not_wait_for_a_hung_server(own_valkey: ValkeyServer) -> None:
    """It ends while the server is still stopped."""
    async with process(own_valkey.url) as (bus, _):
        own_valkey.pause()
        bus.publish(BTC, b"x" * 100_000)
        await asyncio.wait_for(bus.aclose(), WAIT_S)


# --- a server that refuses


async def test_a_full_server_is_gone_round(own_valkey: ValkeyServer) -> None:
    """A server that takes no more writes is trouble too: it is named, and browsers go on without it."""
    async with process(own_valkey.url) as (bus, delivered):
        with redis.Redis.from_url(own_valkey.url) as client:
            client.config_set("maxmemory", "1")
        await until(lambda: not bus.health().ok)
        bus.publish(BTC, b"view")
        await delivered.until(BTC, b"view")

        assert bus.health().detail == "Redis: command not allowed when used memory > 'maxmemory'."


@pytest.mark.proves("redis-refuses")
@pytest.mark.parametrize("kind", ["full", "read-only"])
async def test_a_server_that_stores_nothing_is_lost_once(
    own_valkey: ValkeyServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """It still passes messages on, heartbeats too; that does not make it usable, and it is logged as one loss."""
    caplog.set_level(logging.INFO, "pulse.bus")
    async with process(own_valkey.url) as (bus, delivered):
        with redis.Redis.from_url(own_valkey.url) as client:
            if kind == "full":
                client.config_set("maxmemory", "1")
            else:
                client.replicaof("127.0.0.1", "1")
            await until(lambda: not bus.health().ok)
            attempts_before = client.info("stats")["total_commands_processed"]
            number = 0
            while client.info("stats")["total_commands_processed"] < attempts_before + 30:
                number += 1
                bus.publish(BTC, b"%d" % number)
                await delivered.until(BTC, b"%d" % number)
                assert not bus.health().ok
            if kind == "full":
                client.config_set("maxmemory", "0")
            else:
                client.replicaof("NO", "ONE")
        await until(lambda: bus.health().ok)

    assert [record.getMessage().split(",")[0] for record in caplog.records] == ["bus lost", "bus back"]


@pytest.mark.proves("redis-refuses")
async def test_a_server_that_comes_and_goes_is_held_off(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each loss soon after a return doubles the wait before the next, so switching and logging stay rare."""
    caplog.set_level(logging.INFO, "pulse.bus")
    monkeypatch.setattr("pulse.bus.redis.HOLD_OFF_FIRST_S", 0.2)
    waits: list[float] = []
    async with process(redis_url) as (bus, _):
        assert isinstance(bus, RedisBus)
        for _ in range(4):
            bus._lose_server("cut")
            bus._beat()
            waits.append(bus._held_off_s)
            bus._may_regain_at_s -= bus._held_off_s  # the wait is over
            await until(lambda: bus.health().ok)

    assert waits == [0.2, 0.4, 0.8, 1.6]
    assert len(caplog.records) == 8


@pytest.mark.proves("redis-refuses")
async def test_only_the_change_is_logged(own_valkey: ValkeyServer, caplog: pytest.LogCaptureFixture) -> None:
    """An outage with many failed attempts is one line when it begins and one when it ends."""
    caplog.set_level(logging.DEBUG)
    async with process(own_valkey.url) as (bus, delivered):
        own_valkey.kill()
        for number in range(20):
            bus.publish(BTC, b"%d" % number)
            await delivered.until(BTC, b"%d" % number)
        own_valkey.start()
        await until(lambda: bus.health().ok)
    lines = [record.message for record in caplog.records if record.name.startswith(("pulse", "redis"))]

    assert [line.split(",")[0] for line in lines] == ["bus lost", "bus back"]


async def test_no_task_is_left_behind_after_an_outage(own_valkey: ValkeyServer) -> None:
    """Reconnecting leaves nothing running, and no connection on the server, once the bus is closed."""
    before = asyncio.all_tasks()
    async with process(own_valkey.url) as (bus, _):
        for _ in range(3):
            own_valkey.restart()
            await until(lambda: not bus.health().ok)
            await until(lambda: bus.health().ok)
    left = asyncio.all_tasks() - before

    assert left == set()
    with redis.Redis.from_url(own_valkey.url) as client:
        await until(lambda: len(client.client_list()) == 1)  # the one that asks


async def test_a_defect_is_not_taken_for_an_outage(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that no server can cause ends the bus with that error."""
    bus = RedisBus(redis_url, PREFIX, Delivered())
    bus.open("BTCUSDT")
    monkeypatch.setattr(bus, "_take", lambda channel, payload: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(bus.run(), WAIT_S)
    await bus.aclose()


@pytest.mark.parametrize("end", ["?protocol=x", "?socket_timeout=canary", "?no_such_option=1", ":notaport"])
async def test_an_address_that_cannot_be_read(end: str) -> None:
    """A wrong address is its owner's to mend, and the password in it is not shown."""
    with pytest.raises(SettingsError, match="REDIS_URL") as caught:
        RedisBus(f"redis://user:canary@127.0.0.1{end}", PREFIX, Delivered())

    assert "canary" not in str(caught.value)


async def test_a_wrong_option_of_tls() -> None:
    """The library has an error of its own for it."""
    with pytest.raises(SettingsError, match="REDIS_URL is not an address"):
        RedisBus("rediss://127.0.0.1?ssl_cert_reqs=maybe", PREFIX, Delivered())


async def test_an_unknown_option_is_named() -> None:
    """Some hosts print options of other clients; the value is not shown."""
    with pytest.raises(SettingsError) as caught:
        RedisBus("redis://user:canary@127.0.0.1?family=canary", PREFIX, Delivered())

    assert str(caught.value) == (
        "REDIS_URL has an option that a Redis client does not know: family. Remove it from the address; "
        "if it is part of the password, percent-encode that (? as %3F, & as %26)."
    )


@pytest.mark.proves("redis-tls")
@pytest.mark.parametrize("options", [f"ssl_ca_certs={CERTIFICATE}", "ssl_cert_reqs=none"])
async def test_an_address_of_tls(own_valkey: ValkeyServer, options: str) -> None:
    """Views travel through a server that speaks TLS, its certificate verified unless the address turns that off."""
    async with Proxy(own_valkey.port, tls_context()) as proxy:
        url = f"rediss://localhost:{proxy.port}/0?{options}"
        async with process(url) as (ours, _), process(url) as (_, theirs_delivered):
            ours.publish(BTC, b"view")
            await theirs_delivered.until(BTC, b"view")


@pytest.mark.proves("redis-tls")
async def test_a_certificate_that_cannot_be_verified(own_valkey: ValkeyServer) -> None:
    """The reason states what to add to the address, and views stay in the process."""
    async with (
        Proxy(own_valkey.port, tls_context()) as proxy,
        process(f"rediss://127.0.0.1:{proxy.port}/0", until_ok=False) as (bus, delivered),
    ):
        await until(lambda: bus.health().detail.startswith("Redis: the certificate of the server cannot be verified"))
        bus.publish(BTC, b"alone")
        await delivered.until(BTC, b"alone")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (
            "cluster",
            "this server is a member of a cluster, which is not supported; REDIS_URL must name a single server.",
        ),
        (
            "sentinel",
            "this server stores no keys, as a sentinel, which is not supported; REDIS_URL must name the server itself.",
        ),
    ],
)
async def test_a_server_of_a_wrong_kind(kind: str, reason: str) -> None:
    """It is refused in words, and views stay in the process."""
    server = ValkeyServer(kind)
    server.start()
    try:
        async with process(server.url, until_ok=False) as (bus, delivered):
            await until(lambda: bus.health().detail == f"Redis: {reason}")
            bus.publish(BTC, b"alone")
            await delivered.until(BTC, b"alone")
            assert not bus.health().ok
    finally:
        server.discard()


async def test_the_address_cannot_turn_off_what_the_bus_relies_on(redis_url: str) -> None:
    """Options in the address that would change what the bus hears are overruled."""
    url = f"{redis_url}?decode_responses=true&protocol=3&socket_timeout=60"
    async with process(url) as (bus, delivered):
        bus.publish(BTC, b"\xff\x00")
        await delivered.until(BTC, b"\xff\x00")


async def test_a_password_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the log nor the health of a bus that cannot connect holds the password of its address."""
    url = f"redis://user:canary@127.0.0.1:{free_port()}/0"
    async with process(url, until_ok=False) as (bus, _):
        await until(lambda: bus.health().detail.startswith("Redis: "))

    assert "canary" not in caplog.text + bus.health().detail


# --- what `python -m pulse check` finds


async def test_a_probe_stores_reads_and_publishes(redis_url: str) -> None:
    """It names the server, and what it stored is gone by itself."""
    found = await probe(redis_url, "pulse:test:check:")
    with redis.Redis.from_url(redis_url) as client:
        lives_s = [client.ttl(key) for key in client.scan_iter("pulse:test:check:*")]

    assert re.fullmatch(r"(Valkey|Redis) [0-9.]+", found)
    assert len(lives_s) == 1
    assert all(0 < each <= 10 for each in lives_s)


async def test_a_probe_of_a_server_that_is_away(own_valkey: ValkeyServer) -> None:
    """In words, and with what to do."""
    own_valkey.kill()
    with pytest.raises(CheckFailed, match="Check REDIS_URL, and that the server runs"):
        await probe(own_valkey.url, "pulse:")


async def test_a_probe_of_a_server_that_is_full(own_valkey: ValkeyServer) -> None:
    """It answers, and stores nothing."""
    with redis.Redis.from_url(own_valkey.url) as client:
        client.config_set("maxmemory", "1")
    with pytest.raises(CheckFailed, match=r"OOM|maxmemory"):
        await probe(own_valkey.url, "pulse:")
