// The feed: its subscription, how it assembles views from messages, and where trades resume after a lost connection.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ECHO_MS, Feed, topicsOf } from "../../static/feed.js";
import { fakePlatform } from "./support.mjs";

/** @import {View} from "../../static/types.js" */

function subscribed(source = "exchange") {
  const fake = fakePlatform(0);
  const { last } = fake;
  /** @type {View[]} */
  const views = [];
  /** @type {string[]} */
  const refusals = [];
  const feed = new Feed({
    onView: (view) => views.push(view),
    onChange: () => {},
    onRefused: (detail) => refusals.push(detail),
    platform: fake.platform,
  });
  feed.open("ws://server/ws", "BTCUSDT");
  const receive = (/** @type {object} */ message) => last().receive(JSON.stringify(message));
  const receiveTopic = (/** @type {string} */ kind, fields = {}) =>
    receive({ topic: topicsOf("BTCUSDT").find((topic) => topic.startsWith(kind)), ...fields });
  const receiveAll = (/** @type {number} */ seq) => {
    receiveTopic("status", { seq, source, instrument: { tick_size: 0.01 } });
    receiveTopic("proof", { seq, proof: { incidents: 0 } });
    receiveTopic("kline", { seq, candle: null });
    receiveTopic("metrics", { seq, metrics: { cvd: seq } });
    receiveTopic("book", { seq, symbol: "BTCUSDT", bids: [[1, seq]] });
  };
  last().open();
  return { feed, views, refusals, last, due: fake.due, timers: fake.timers, receive, receiveTopic, receiveAll };
}

test("the feed subscribes to what a page shows, the book last", () => {
  const { last } = subscribed();

  assert.deepEqual(last().sent, [{ op: "subscribe", topics: topicsOf("BTCUSDT") }]);
  assert.equal(topicsOf("BTCUSDT").at(-1), "book.BTCUSDT");
});

test("a slower rate is part of the subscription", () => {
  const fake = fakePlatform(0);
  const feed = new Feed({ onView: () => {}, onChange: () => {}, rate: () => "4hz", platform: fake.platform });
  feed.open("ws://server/ws", "BTCUSDT");
  fake.last().open();

  assert.deepEqual(fake.last().sent, [{ op: "subscribe", topics: topicsOf("BTCUSDT"), rate: "4hz" }]);
});

test("a view is delivered only when all of its parts have arrived", () => {
  const { views, receiveTopic, receiveAll } = subscribed();
  receiveTopic("book", { seq: 1 });
  receiveTopic("status", { seq: 1 });
  receiveTopic("book", { seq: 2 });
  assert.equal(views.length, 0);
  receiveAll(3);

  assert.equal(views.length, 1);
  assert.deepEqual(views[0].bids, [[1, 3]]);
  assert.deepEqual([views[0].metrics.cvd, views[0].instrument?.tick_size], [3, 0.01]);
});

test("parts that have not changed are taken from the view before", () => {
  const { views, receiveTopic, receiveAll } = subscribed();
  receiveAll(1);
  receiveTopic("book", { seq: 2, bids: [] });

  assert.deepEqual([views[1].seq, views[1].source, views[1].metrics.cvd], [2, "exchange", 1]);
});

test("trades come with the next view, newest first, and once", () => {
  const { views, receiveTopic, receiveAll } = subscribed();
  receiveTopic("trades", { last_id: 2, trades: [{ id: 1 }, { id: 2 }] });
  receiveTopic("trades", { last_id: 3, trades: [{ id: 3 }] });
  receiveAll(1);
  receiveAll(2);

  assert.deepEqual(
    views.map(({ trades }) => trades.map(({ id }) => id)),
    [[3, 2, 1], []],
  );
});

test("after a lost connection the exchange's trades resume where they ended", () => {
  const { feed, receiveTopic, receiveAll, last } = subscribed();
  receiveAll(1);
  receiveTopic("trades", { last_id: 41, trades: [{ id: 41, first_trade_id: 90 }] });
  last().lose(1006);
  feed.retryNow();
  last().open();

  const { from_id: fromId, from_first_trade_id: fromFirst } = last().sent[0];
  assert.deepEqual([fromId, fromFirst], [41, 91]);
});

test("trades of a simulation, and of another symbol, do not resume", () => {
  const { feed, receiveTopic, receiveAll, last } = subscribed("simulation");
  receiveAll(1);
  receiveTopic("trades", { last_id: 41, trades: [{ id: 41, first_trade_id: 90 }] });
  feed.open("ws://server/ws", "BTCUSDT");
  last().open();

  assert.equal(last().sent[0].from_id, undefined);
});

test("when the server refuses the trade id to resume from, the feed subscribes without it", () => {
  const { receive, last, refusals } = subscribed();
  receive({ op: "error", parameter: "from_id", detail: "too far" });

  assert.deepEqual(last().sent[1], { op: "subscribe", topics: topicsOf("BTCUSDT") });
  assert.deepEqual(refusals, []);
});

test("a subscription that is refused for now is sent again when the server says, unless the connection is another", () => {
  const { feed, receive, last, refusals, due, timers } = subscribed();
  const refusal = { op: "error", parameter: "topics", detail: "starting", retry_after_s: 2 };
  receive(refusal);
  assert.equal(due().ms, 2_000);
  due().act();
  assert.deepEqual(last().sent[1], last().sent[0]);
  assert.equal(last().sent.length, 2);
  receive(refusal);
  feed.open("ws://server/ws", "ETHUSDT");

  assert.equal(timers.size, 0);
  assert.deepEqual(refusals, ["starting", "starting"]);
});

test("any other refusal is reported", () => {
  const { receive, refusals } = subscribed();
  receive({ op: "error", parameter: "topics", detail: "unknown symbol" });

  assert.deepEqual(refusals, ["unknown symbol"]);
});

test("answers that need no action are ignored", () => {
  const { receive, views, refusals } = subscribed();
  receive({ op: "subscribed", topics: [] });

  assert.deepEqual([views, refusals], [[], []]);
});

test("a painted view is echoed to the server at most every twenty seconds", () => {
  const { feed, last } = subscribed();
  for (const nowMs of [100_000, 100_100, 100_000 + ECHO_MS]) feed.shown({ instance: "ab", timestamp: nowMs }, nowMs);
  const echoes = last().sent.filter(({ op }) => op === "echo");

  assert.deepEqual(
    echoes.map(({ instance, timestamp }) => [instance, timestamp]),
    [
      ["ab", 100_000],
      ["ab", 120_000],
    ],
  );
});
