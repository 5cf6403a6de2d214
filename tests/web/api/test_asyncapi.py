"""The AsyncAPI document against the live server: every message it sends and accepts is as described."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft7Validator

from pulse.fanout import requests
from pulse.market.ladder import ROWS
from pulse.web.api.asyncapi import document
from tests.support.process import Pulse
from tests.support.waiting import WAIT_S
from tests.support.web import ask, on_server_loop, serving

DOCUMENT = document()
SCHEMAS = DOCUMENT["components"]["schemas"]
OUTGOING = ("book", "trades", "metrics", "kline", "proof", "status", "ladder", "cost")


def validator(message: str) -> Draft7Validator:
    """Return the validator of a message's payload."""
    return Draft7Validator(
        DOCUMENT["components"]["messages"][message]["payload"] | {"components": DOCUMENT["components"]}
    )


def fits(message: str, body: Any) -> bool:
    """Return whether a body matches the described message."""
    return validator(message).is_valid(body)


def references(part: Any) -> Iterator[str]:
    """Return every $ref in a part of the document."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from references(each)


def test_every_reference_resolves() -> None:
    """Within the document itself."""
    for reference in references(DOCUMENT):
        found: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]

        assert found


def test_every_schema_is_valid_and_used() -> None:
    """AsyncAPI's schemas are a superset of draft 7."""
    used = set(references(DOCUMENT))

    for name, schema in SCHEMAS.items():
        Draft7Validator.check_schema(schema)
        assert f"#/components/schemas/{name}" in used


def test_options_are_those_that_are_accepted() -> None:
    """Rates, depths, kinds of topics and operations."""
    subscribe = SCHEMAS["Subscribe"]["properties"]

    assert subscribe["rate"]["enum"] == list(requests.RATES_S)
    assert subscribe["depth"]["enum"] == list(requests.DEPTHS)
    assert subscribe["rows"]["enum"] == list(ROWS)
    assert SCHEMAS["Topics"]["maxItems"] == requests.TOPICS_MAX
    assert set(OUTGOING) == set(requests.KINDS)
    assert set(requests.OPS) <= DOCUMENT["channels"]["feed"]["messages"].keys()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@on_server_loop
async def test_document_is_served(encoding: str) -> None:
    """At /asyncapi.json, as JSON that a client caches and revalidates."""
    async with serving() as web:
        status, body, headers = await ask(web, "/asyncapi.json", **{"Accept-Encoding": encoding})
        known = {"Accept-Encoding": encoding, "If-None-Match": headers["ETag"]}
        again, _, _ = await ask(web, "/asyncapi.json", **known)

    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "application/json", "no-cache")
    assert body == json.loads(json.dumps(DOCUMENT))
    assert again == 304


async def test_messages_of_a_live_server_match_the_document(tmp_path: Path) -> None:
    """Every topic, its first message and later ones, over /ws, /sse and /ws/orderbook."""
    variants = {"kline": ".1m", "ladder": ".2", "cost": ".2500"}
    wanted = [f"{kind}.LINKUSDT{variants.get(kind, '')}" for kind in OUTGOING] + ["kline.LINKUSDT.1h"]
    seen: dict[str, int] = dict.fromkeys(OUTGOING, 0)
    async with Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT") as pulse, aiohttp.ClientSession() as client:
        await pulse.until_live("LINKUSDT")
        async with client.ws_connect(f"{pulse.url}/ws") as feed:
            await feed.send_json({"op": "subscribe", "topics": wanted, "id": "a"})
            assert fits("subscribed", await feed.receive_json(timeout=WAIT_S))
            while min(seen.values()) < 3:
                body = await feed.receive_json(timeout=WAIT_S)
                kind = body["topic"].split(".")[0]
                seen[kind] += 1
                validator(kind).validate(body)
        async with client.get(f"{pulse.url}/sse", params={"topics": ",".join(wanted)}) as events:
            async for line in events.content:
                if line.startswith(b"data: "):
                    body = json.loads(line.removeprefix(b"data: "))
                    kind = body["topic"].split(".")[0]
                    validator(kind).validate(body)
                    if kind == "book":
                        break
        async with pulse.feed("LINKUSDT") as views:
            for _ in range(5):
                validator("view").validate(await views.receive_json(timeout=WAIT_S))


@pytest.mark.parametrize(
    ("request_body", "name", "answer"),
    [
        (
            {"op": "subscribe", "topics": ["book.BTCUSDT"], "rate": "4hz", "depth": 5, "id": 1},
            "subscribe",
            "subscribed",
        ),
        ({"op": "subscribe", "topics": ["trades.BTCUSDT"], "from_id": 0}, "subscribe", "subscribed"),
        (
            {"op": "subscribe", "topics": ["ladder.BTCUSDT.10", "cost.BTCUSDT.0.25"], "rows": 20},
            "subscribe",
            "subscribed",
        ),
        ({"op": "unsubscribe", "topics": ["kline.BTCUSDT.1m"]}, "unsubscribe", "subscribed"),
        ({"op": "ping", "id": "x"}, "ping", "pong"),
    ],
)
@on_server_loop
async def test_described_request_is_accepted(request_body: dict[str, Any], name: str, answer: str) -> None:
    """And answered as described."""
    async with serving() as web, aiohttp.ClientSession() as client, client.ws_connect(f"{web.url}/ws") as feed:
        await feed.send_json(request_body)
        answered = await feed.receive_json(timeout=WAIT_S)

    assert fits(name, request_body)
    assert fits(answer, answered)


@pytest.mark.parametrize(
    "request_body",
    [
        {"op": "subscribe", "topics": []},
        {"op": "subscribe", "topics": ["moon.BTCUSDT"]},
        {"op": "subscribe", "topics": ["kline.BTCUSDT.7m"]},
        {"op": "subscribe", "topics": ["ladder.BTCUSDT.3"]},
        {"op": "subscribe", "topics": ["ladder.BTCUSDT"]},
        {"op": "subscribe", "topics": ["cost.BTCUSDT.1.50"]},
        {"op": "subscribe", "topics": ["ladder.BTCUSDT.10"], "rows": 30},
        {"op": "subscribe", "topics": ["book.BTCUSDT"], "depth": 3},
        {"op": "subscribe", "topics": ["book.BTCUSDT"], "rate": "9hz"},
        {"op": "subscribe", "topics": ["trades.BTCUSDT"], "from_id": -1},
        {"op": "ping", "id": 1.5},
        {"op": "unknown"},
    ],
)
@on_server_loop
async def test_request_that_is_not_described_is_refused(request_body: dict[str, Any]) -> None:
    """With the described error: document and server agree on what is valid."""
    async with serving() as web, aiohttp.ClientSession() as client, client.ws_connect(f"{web.url}/ws") as feed:
        await feed.send_json(request_body)
        answered = await feed.receive_json(timeout=WAIT_S)

    assert not any(fits(name, request_body) for name in requests.OPS)
    assert fits("error", answered)
