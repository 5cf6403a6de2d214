// The feed: what it asks for, how it makes pictures of messages, and where trades go on after a lost line.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ECHO_MS, Feed, topicsOf } from "../../static/feed.js";

function stage(source = "exchange") {
  const sockets = [];
  const pictures = [];
  const refusals = [];
  class Socket {
    constructor() {
      this.said = [];
      sockets.push(this);
    }
    send(text) {
      this.said.push(JSON.parse(text));
    }
    close() {}
  }
  const feed = new Feed({
    onPicture: (picture) => pictures.push(picture),
    onChange: () => {},
    onRefused: (detail) => refusals.push(detail),
    WebSocket: Socket,
    now: () => 0,
    random: () => 0,
    setTimeout: () => 0,
    clearTimeout: () => {},
    setInterval: () => 0,
    clearInterval: () => {},
  });
  feed.follow("ws://server/ws", "BTCUSDT");
  const last = () => sockets.at(-1);
  const hear = (message) => last().onmessage({ data: JSON.stringify(message) });
  const tell = (kind, fields = {}) => hear({ topic: topicsOf("BTCUSDT").find((t) => t.startsWith(kind)), ...fields });
  const tellAll = (seq) => {
    tell("status", { seq, source, instrument: { tick_size: 0.01 } });
    tell("proof", { seq, proof: { incidents: 0 } });
    tell("kline", { seq, candle: null });
    tell("metrics", { seq, metrics: { cvd: seq } });
    tell("book", { seq, symbol: "BTCUSDT", bids: [[1, seq]] });
  };
  last().onopen();
  return { feed, sockets, pictures, refusals, last, hear, tell, tellAll };
}

test("it subscribes to what a page shows, the book last", () => {
  const { last } = stage();

  assert.deepEqual(last().said, [{ op: "subscribe", topics: topicsOf("BTCUSDT") }]);
  assert.equal(last().said[0].topics.at(-1), "book.BTCUSDT");
});

test("a picture is whole or it is not shown", () => {
  const { pictures, tell, tellAll } = stage();
  tell("book", { seq: 1 });
  tell("status", { seq: 1 });
  tell("book", { seq: 2 });
  assert.equal(pictures.length, 0);
  tellAll(3);

  assert.equal(pictures.length, 1);
  assert.deepEqual(pictures[0].bids, [[1, 3]]);
  assert.deepEqual([pictures[0].metrics.cvd, pictures[0].instrument.tick_size], [3, 0.01]);
});

test("what has not changed is taken from before", () => {
  const { pictures, tell, tellAll } = stage();
  tellAll(1);
  tell("book", { seq: 2, bids: [] });

  assert.deepEqual([pictures[1].seq, pictures[1].source, pictures[1].metrics.cvd], [2, "exchange", 1]);
});

test("trades come with the next picture, newest first, and once", () => {
  const { pictures, tell, tellAll } = stage();
  tell("trades", { last_id: 2, trades: [{ id: 1 }, { id: 2 }] });
  tell("trades", { last_id: 3, trades: [{ id: 3 }] });
  tellAll(1);
  tellAll(2);

  assert.deepEqual(
    pictures.map(({ trades }) => trades.map(({ id }) => id)),
    [[3, 2, 1], []],
  );
});

test("after a lost line the exchange's trades go on where they ended", () => {
  const { feed, tell, tellAll, last } = stage();
  tellAll(1);
  tell("trades", { last_id: 41, trades: [{ id: 41 }] });
  last().onclose({ code: 1006, reason: "" });
  feed.retryNow();
  last().onopen();

  assert.equal(last().said[0].from_id, 42);
});

test("a simulation's trades begin anew, and so do another symbol's", () => {
  const { feed, tell, tellAll, last } = stage("simulation");
  tellAll(1);
  tell("trades", { last_id: 41, trades: [{ id: 41 }] });
  feed.follow("ws://server/ws", "BTCUSDT");
  last().onopen();

  assert.equal(last().said[0].from_id, undefined);
});

test("a place in the trades that the server does not know is given up", () => {
  const { hear, last, refusals } = stage();
  hear({ op: "error", parameter: "from_id", detail: "too far" });

  assert.deepEqual(last().said[1], { op: "subscribe", topics: topicsOf("BTCUSDT") });
  assert.deepEqual(refusals, []);
});

test("a shown picture is echoed now and then", () => {
  const { feed, last } = stage();
  for (const nowMs of [100_000, 100_100, 100_000 + ECHO_MS]) feed.shown({ instance: "ab", timestamp: nowMs }, nowMs);
  const echoes = last().said.filter(({ op }) => op === "echo");

  assert.deepEqual(
    echoes.map(({ instance, timestamp }) => [instance, timestamp]),
    [
      ["ab", 100_000],
      ["ab", 120_000],
    ],
  );
});

test("any other refusal is told", () => {
  const { hear, refusals } = stage();
  hear({ op: "error", parameter: "topics", detail: "not followed here" });

  assert.deepEqual(refusals, ["not followed here"]);
});
