"""The task that takes, renews and gives back leases on a Redis or Valkey server, of all symbols with one call a round.

One script does all of it, so the server decides about a symbol in one step. A lease is the key `lease:SYMBOL` with the
value INSTANCE:TOKEN and a time to live; `token:SYMBOL` counts the tokens. A new token is also higher than the highest
one that the caller knows and than the server's time in ms, so a server that has lost the counter goes on above it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from pulse.bus.leases import LEASE_S, Answer, Leases, Request
from pulse.bus.redis import CONNECT_TIMEOUT_S, LATEST_LIFE_S, ServerTrouble, connect_to, sentence_of
from pulse.errors import CheckFailed

log = logging.getLogger(__name__)

ROUND_TIMEOUT_S = 0.5
"""How long one round may take: a later answer would be about a lease that has nearly ended."""
RETRY_S = 0.1
"""Between two tries while the server, or the bus, does not answer."""
CLOSE_TIMEOUT_S = 0.4
SYMBOLS_PER_CALL = 100
"""A call about more would keep the server from others for a millisecond."""

ROUND = """
local answers = {}
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local me, lease_ms = ARGV[1], ARGV[2]
for i = 1, #KEYS / 4 do
  local lease, counter, followed, watched = KEYS[4*i-3], KEYS[4*i-2], KEYS[4*i-1], KEYS[4*i]
  local held, floor, wish, watching = ARGV[4*i-1], tonumber(ARGV[4*i]), ARGV[4*i+1], ARGV[4*i+2]
  local value = redis.call('GET', lease)
  local is_mine = value and string.sub(value, 1, #me + 1) == me .. ':'
  if wish == 'leave' then
    if is_mine then
      redis.call('DEL', lease)
      value = false
    end
  elseif value and value == me .. ':' .. held then
    redis.call('PEXPIRE', lease, lease_ms)
  elseif (not value and wish == 'take') or is_mine then
    local token = math.max(redis.call('INCR', counter), floor + 1, now_ms)
    value = me .. ':' .. string.format('%.0f', token)
    redis.call('SET', counter, string.format('%.0f', token))
    if is_mine then
      redis.call('DEL', lease)
    end
    redis.call('SET', lease, value, 'NX', 'PX', lease_ms)
    is_mine = true
  elseif value then
    redis.call('SET', followed, '1', 'PX', lease_ms)
    if watching ~= '' then
      redis.call('HSET', watched, me, string.format('%.0f', now_ms + lease_ms) .. ':' .. watching)
      redis.call('PEXPIRE', watched, lease_ms)
    else
      redis.call('HDEL', watched, me)
    end
  end
  if not value then
    answers[i] = {'', 0, 0, {}}
  elseif is_mine then
    local others = {}
    for _, entry in ipairs(redis.call('HVALS', watched)) do
      local colon = string.find(entry, ':', 1, true)
      if tonumber(string.sub(entry, 1, colon - 1)) > now_ms then
        others[#others + 1] = string.sub(entry, colon + 1)
      end
    end
    answers[i] = {value, redis.call('PTTL', lease), redis.call('EXISTS', followed), others}
  else
    answers[i] = {value, redis.call('PTTL', lease), 0, {}}
  end
end
return answers
"""
"""KEYS are four of each symbol: its lease, its counter, whether it is followed, and what each follower watches, by
instance, each until a time in ms.

ARGV are the instance and the life of a lease in ms; then of each symbol the token held, the floor, the wish (take, wait
or leave) and what clients of this process watch.
"""


class LeaseKeeper:
    """Keeps `leases` on the server at `url`, under names that begin with `prefix`.

    Leases are renewed only while `is_bus_ok`: an owner whose views do not reach the others must not keep them waiting.
    """

    def __init__(
        self, url: str, prefix: str, instance: str, leases: Leases, clock: Callable[[], float],
        is_bus_ok: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._prefix = prefix
        self._instance = instance
        self._leases = leases
        self._clock = clock
        self._is_bus_ok = is_bus_ok
        self._client = connect_to(url, ROUND_TIMEOUT_S)
        self._trouble = ""

    async def run(self) -> None:
        """Make a round whenever one is due, for ever."""
        while True:
            self._leases.wake.clear()
            wait_s = await self._round()
            try:
                async with asyncio.timeout(wait_s):
                    await self._leases.wake.wait()
            except TimeoutError:
                pass

    async def aclose(self) -> None:
        """Give all leases back, so that another process takes them at once, and close the connection."""
        requests = [request._replace(is_leaving=True) for request in self._leases.requests()]
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._ask(requests)
        except ServerTrouble as fault:
            log.info("leases not given back reason=%s", sentence_of(fault))
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._client.aclose()
        except ServerTrouble as fault:
            log.info("lease connection closed with an error reason=%s", sentence_of(fault))

    async def _round(self) -> float:
        """Make a round; return how long to wait for the next one."""
        if not self._is_bus_ok():
            self._leases.on_outage()
            return RETRY_S
        sent_s = self._clock()
        try:
            async with asyncio.timeout(ROUND_TIMEOUT_S):
                answers = await self._ask(self._leases.requests())
        except ServerTrouble as fault:
            if not self._trouble:
                log.warning("leases not renewed reason=%s", sentence_of(fault))
            self._trouble = sentence_of(fault)
            self._leases.on_outage()
            return RETRY_S
        if self._trouble:
            log.info("leases renewed again")
            self._trouble = ""
        return self._leases.on_answers(sent_s, answers)

    async def _ask(self, requests: Sequence[Request]) -> list[tuple[str, Answer]]:
        answers: list[tuple[str, Answer]] = []
        for start in range(0, len(requests), SYMBOLS_PER_CALL):
            part = requests[start : start + SYMBOLS_PER_CALL]
            keys = [self._prefix + key for request in part for key in _keys_of(request.symbol)]
            arguments = [self._instance, str(int(LEASE_S * 1000))]
            for request in part:
                arguments += _arguments_of(request)
            rows = await self._client.eval(ROUND, len(keys), *keys, *arguments)
            answers += [(request.symbol, _answer(row)) for request, row in zip(part, rows, strict=True)]
        return answers


def _keys_of(symbol: str) -> tuple[str, ...]:
    return f"lease:{symbol}", f"token:{symbol}", f"followed:{symbol}", f"watched:{symbol}"


def _arguments_of(request: Request) -> tuple[str, ...]:
    wish = "leave" if request.is_leaving else "take" if request.may_take else "wait"
    return str(request.token), str(request.floor), wish, request.watching


def _answer(row: Sequence[Any]) -> Answer:
    value, ends_in_ms, is_followed, watching = row
    owner, _, token = value.decode().partition(":")
    return Answer(owner, int(token or 0), ends_in_ms / 1000, bool(is_followed), tuple(one.decode() for one in watching))


async def probe_leases(url: str, prefix: str) -> None:
    """Take a lease once, as the keeper does, under a name of its own. Raise CheckFailed if the server refuses."""
    client = connect_to(url, CONNECT_TIMEOUT_S)
    keys = [f"{prefix}check:{name}" for name in ("lease", "token", "followed", "watched")]
    try:
        await client.eval(ROUND, len(keys), *keys, "check", "1", "0", "0", "take", "")
        await client.expire(keys[1], LATEST_LIFE_S)
    except RedisError as fault:
        raise CheckFailed(f"{sentence_of(fault)} Redis must let this user run scripts (EVAL).") from fault
    finally:
        await client.aclose()
