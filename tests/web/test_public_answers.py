"""What anyone may read while every part is in trouble: which part, and since when; no host, path, role or database.

The whole terminal as a process, asked as by a client that is not on this machine; the operator and the log have it all.
"""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from pulse.simulator.server import SimulatedExchange
from pulse.web.api.openapi import document
from tests.support.process import Pulse
from tests.support.services import PostgresServer, free_port
from tests.support.waiting import WAIT_S

ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}
ROLE, PASSWORD, DATABASE = "pulse_role_x", "s3cret_x", "pulse_database_x"
ASKED = (
    *(path.replace("{symbol}", "BTCUSDT") for path in document(("BTCUSDT",))["paths"] if path != "/sse"),
    "/", "/config.js", "/nothing", "/api/ohlcv?format=csv", "/api/ohlcv?limit=x", "/orderbook?symbol=NOPE",
    "/udf/history?symbol=BTCUSDT&resolution=1&from=0&to=9", "/udf/symbols?symbol=BTCUSDT", "/api/proof/NOPE",
    "/sse?topics=nothing",
)  # fmt: skip
TOPICS = [f"{kind}.BTCUSDT" for kind in ("book", "trades", "metrics", "proof", "status")] + ["kline.BTCUSDT.5m"]


@asynccontextmanager
async def in_trouble(folder: Path, **environment: str) -> AsyncIterator[Pulse]:
    """Run a terminal whose exchange has gone after the start."""
    async with SimulatedExchange(["BTCUSDT"], seed=5) as exchange:
        own = {
            "PULSE_SYMBOLS": "BTCUSDT", "PULSE_REST_URL": exchange.rest_url, "PULSE_STREAM_URL": exchange.stream_url,
        }  # fmt: skip
        pulse = Pulse(folder, **own, **environment)
        await pulse.start()
        await pulse.until_live()
    try:
        await pulse.until(pulse.view, lambda view: view.get("state") == "offline")
        yield pulse
    finally:
        await pulse.__aexit__(None, None, None)


async def public_answers(pulse: Pulse) -> dict[str, str]:
    """Return what everyone is answered, headers included, by path; and the messages of each kind of feed."""
    answers: dict[str, str] = {}
    async with aiohttp.ClientSession(headers=ELSEWHERE) as client:
        for path in ASKED:
            async with client.get(pulse.url + path) as answer:
                answers[path] = f"{answer.status} {dict(answer.headers)} {await answer.text()}"
        async with client.ws_connect(f"{pulse.url}/ws/orderbook") as feed:
            answers["/ws/orderbook"] = str(await feed.receive_json(timeout=WAIT_S))
        async with client.ws_connect(f"{pulse.url}/ws") as feed:
            await feed.send_json({"op": "subscribe", "topics": TOPICS})
            await feed.send_json({"op": "subscribe", "topics": ["book.NOPE"]})
            answers["/ws"] = "".join([str(await feed.receive_json(timeout=WAIT_S)) for _ in range(6)])
    return answers


def check(answers: dict[str, str], secrets: Iterable[str]) -> None:
    """Fail if any answer holds any of these words."""
    told = {(path, word) for path, answer in answers.items() for word in secrets if word in answer}
    assert told == set()


@pytest.mark.proves("troubles")
async def test_troubles_of_servers_are_told_to_the_operator_alone(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """PostgreSQL refuses the role, Redis is away, the exchange is gone."""
    redis_port = free_port()
    url = f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{own_postgres.port}/{DATABASE}"
    redis_url = f"redis://{ROLE}:{PASSWORD}@127.0.0.1:{redis_port}/0"
    async with in_trouble(tmp_path, DATABASE_URL=url, REDIS_URL=redis_url) as pulse:
        report = await pulse.until(
            lambda: pulse.get("/readyz"), lambda report: ROLE in report["store"]["detail"] and not report["bus"]["ok"]
        )
        answers = await public_answers(pulse)
        log = pulse.log.read_text()

    public = json.loads(answers["/readyz"][answers["/readyz"].index('{"ready"') :])
    check(answers, [ROLE, PASSWORD, DATABASE, "127.0.0.1", f":{own_postgres.port}", f":{redis_port}", str(tmp_path)])
    assert public["store"]["detail"].startswith("Closed candles cannot be written since 20")
    assert public["bus"]["detail"].startswith("Views do not travel through the bus server since 20")
    assert (public["store"]["since_ms"], public["bus"]["since_ms"]) == (
        report["store"]["since_ms"], report["bus"]["since_ms"],
    )  # fmt: skip
    assert answers["/metrics"].startswith("403")
    assert ROLE in log
    assert PASSWORD not in log


@pytest.mark.proves("troubles")
@pytest.mark.parametrize("path", ["secret-folder/secret-name.sqlite3"])
async def test_a_broken_file_is_told_to_the_operator_alone(tmp_path: Path, path: str) -> None:
    """The SQLite file was overwritten with something else."""
    file = tmp_path / path
    file.parent.mkdir()
    async with in_trouble(tmp_path, PULSE_SQLITE_PATH=str(file)) as pulse:
        file.unlink()
        file.write_bytes(b"this is no database" * 1000)
        await pulse.until(lambda: pulse.get("/readyz"), lambda report: str(file) in report["store"]["detail"])
        answers = await public_answers(pulse)
        log = pulse.log.read_text()

    check(answers, [*file.relative_to(tmp_path).parts, str(tmp_path), "127.0.0.1"])
    assert "cannot be written since" in answers["/api/store"]
    assert str(file) in log
