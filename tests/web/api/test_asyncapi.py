"""asyncapi.json against the live server: every message it sends, and every one it takes, is as described."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft7Validator

from pulse.fanout import requests
from tests.support.process import Pulse
from tests.support.web import SETTINGS, on_server_loop, serving

STATIC = Path(__file__).parents[3] / "static"
DOCUMENT: dict[str, Any] = json.loads((STATIC / "asyncapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
OUTGOING = ("book", "trades", "metrics", "kline", "proof", "status")


def validator(message: str) -> Draft7Validator:
    """What judges messages of this name."""
    return Draft7Validator(
        DOCUMENT["components"]["messages"][message]["payload"] | {"components": DOCUMENT["components"]}
    )


def fits(message: str, body: Any) -> bool:
    """Whether a body is what the document says of this message."""
    return validator(message).is_valid(body)


def references(part: Any) -> Iterator[str]:
    """Every $ref below this part."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from references(each)


def test_every_reference_leads_somewhere() -> None:
    """Nothing is described by something that is not there."""
    for reference in references(DOCUMENT):
        found: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]

        assert found


def test_every_schema_is_one() -> None:
    """And nothing is described that no message holds."""
    used = set(references(DOCUMENT))

    for name, schema in SCHEMAS.items():
        Draft7Validator.check_schema(schema)
        assert f"#/components/schemas/{name}" in used


def test_the_options_are_those_that_are_taken() -> None:
    """Rates, depths, kinds of topics and operations, word for word."""
    subscribe = SCHEMAS["Subscribe"]["properties"]

    assert subscribe["rate"]["enum"] == list(requests.RATES_S)
    assert subscribe["depth"]["enum"] == list(requests.DEPTHS)
    assert SCHEMAS["Topics"]["maxItems"] == requests.TOPICS_MAX
    assert set(OUTGOING) == set(requests.KINDS)
    assert set(requests.OPS) <= DOCUMENT["channels"]["feed"]["messages"].keys()


@on_server_loop
async def test_it_is_served() -> None:
    """At /asyncapi.json, as JSON."""
    async with (
        serving(SETTINGS, static_dir=STATIC) as web,
        aiohttp.ClientSession() as client,
        client.get(f"{web.url}/asyncapi.json") as answer,
    ):
        body = await answer.json()

    assert body == DOCUMENT


async def test_a_live_server_s_messages_are_as_described(tmp_path: Path) -> None:
    """Of every topic, in the first state and in the next ones, over the WebSocket, as events and as pictures."""
    wanted = [f"{kind}.LINKUSDT" + (".1m" if kind == "kline" else "") for kind in OUTGOING] + ["kline.LINKUSDT.1h"]
    seen: dict[str, int] = dict.fromkeys(OUTGOING, 0)
    async with Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT") as pulse, aiohttp.ClientSession() as client:
        await pulse.until_live("LINKUSDT")
        async with client.ws_connect(f"{pulse.url}/ws") as feed:
            await feed.send_json({"op": "subscribe", "topics": wanted, "id": "a"})
            assert fits("subscribed", await feed.receive_json(timeout=10))
            while min(seen.values()) < 3:
                body = await feed.receive_json(timeout=10)
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
        async with pulse.feed("LINKUSDT") as pictures:
            for _ in range(5):
                validator("picture").validate(await pictures.receive_json(timeout=10))


@pytest.mark.parametrize(
    ("words", "name", "answer"),
    [
        (
            {"op": "subscribe", "topics": ["book.BTCUSDT"], "rate": "4hz", "depth": 5, "id": 1},
            "subscribe",
            "subscribed",
        ),
        ({"op": "subscribe", "topics": ["trades.BTCUSDT"], "from_id": 0}, "subscribe", "subscribed"),
        ({"op": "unsubscribe", "topics": ["kline.BTCUSDT.1m"]}, "unsubscribe", "subscribed"),
        ({"op": "ping", "id": "x"}, "ping", "pong"),
    ],
)
@on_server_loop
async def test_what_is_described_is_taken(words: dict[str, Any], name: str, answer: str) -> None:
    """And answered as described."""
    async with serving() as web, aiohttp.ClientSession() as client, client.ws_connect(f"{web.url}/ws") as feed:
        await feed.send_json(words)
        answered = await feed.receive_json(timeout=5)

    assert fits(name, words)
    assert fits(answer, answered)


@pytest.mark.parametrize(
    "words",
    [
        {"op": "subscribe", "topics": []},
        {"op": "subscribe", "topics": ["moon.BTCUSDT"]},
        {"op": "subscribe", "topics": ["kline.BTCUSDT.7m"]},
        {"op": "subscribe", "topics": ["book.BTCUSDT"], "depth": 3},
        {"op": "subscribe", "topics": ["book.BTCUSDT"], "rate": "9hz"},
        {"op": "subscribe", "topics": ["trades.BTCUSDT"], "from_id": -1},
        {"op": "ping", "id": 1.5},
        {"op": "sing"},
    ],
)
@on_server_loop
async def test_what_is_not_described_is_refused_as_described(words: dict[str, Any]) -> None:
    """The document and the server agree on what is wrong."""
    async with serving() as web, aiohttp.ClientSession() as client, client.ws_connect(f"{web.url}/ws") as feed:
        await feed.send_json(words)
        answered = await feed.receive_json(timeout=5)

    assert not any(fits(name, words) for name in requests.OPS)
    assert fits("error", answered)
