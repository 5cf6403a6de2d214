// The feed: its subscription, how it assembles views from messages, and where trades resume after a lost connection.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ECHO_MS, Feed, topicsOf } from "../../static/feed.js";
import { fakePlatform } from "./support.mjs";

/** @import {View} from "../../static/types.js" */

/** @type {Map<string, {topic: string}[]>} */
const BTC_ONLY = new Map([["BTCUSDT", []]]);

/** @param {string} symbol */
function subscription(symbol) {
  return { op: "subscribe", id: symbol, topics: topicsOf(symbol) };
}

function subscribed(source = "exchange") {
  const fake = fakePlatform(0);
  const { last } = fake;
  /** @type {View[]} */
  const views = [];
  /** @type {string[]} */
  const refusals = [];
  /** @type {string[]} */
  const others = [];
  const feed = new Feed({
    onView: (view) => views.push(view),
    onChange: () => {},
    onMessage: (message) => others.push(message.topic),
    onRefused: (symbol, detail) => refusals.push(`${symbol}: ${detail}`),
    platform: fake.platform,
  });
  feed.follow(BTC_ONLY);
  feed.open("ws://server/ws");
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
  return {
    feed,
    views,
    refusals,
    others,
    last,
    due: fake.due,
    timers: fake.timers,
    clock: fake.clock,
    receive,
    receiveTopic,
    receiveAll,
  };
}

test("the feed subscribes to what a page shows, the book last", () => {
  const { last } = subscribed();

  assert.deepEqual(last().sent, [subscription("BTCUSDT")]);
  assert.equal(topicsOf("BTCUSDT").at(-1), "book.BTCUSDT");
});

test("a slower rate is part of the subscription", () => {
  const fake = fakePlatform(0);
  const feed = new Feed({ onView: () => {}, onChange: () => {}, rate: () => "4hz", platform: fake.platform });
  feed.follow(new Map([["BTCUSDT", [{ topic: "ladder.BTCUSDT.5" }]]]));
  feed.open("ws://server/ws");
  fake.last().open();

  assert.deepEqual(fake.last().sent, [
    { ...subscription("BTCUSDT"), rate: "4hz" },
    { op: "subscribe", id: "ladder.BTCUSDT.5", topics: ["ladder.BTCUSDT.5"], rate: "4hz" },
  ]);
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

test("trades of a simulation do not resume", () => {
  const { feed, receiveTopic, receiveAll, last } = subscribed("simulation");
  receiveAll(1);
  receiveTopic("trades", { last_id: 41, trades: [{ id: 41, first_trade_id: 90 }] });
  feed.open("ws://server/ws");
  last().open();

  assert.equal(last().sent[0].from_id, undefined);
});

test("when the server refuses the trade id to resume from, the feed subscribes without it", () => {
  const { receive, last, refusals } = subscribed();
  receive({ op: "error", id: "BTCUSDT", parameter: "from_id", detail: "too far" });

  assert.deepEqual(last().sent[1], subscription("BTCUSDT"));
  assert.deepEqual(refusals, []);
});

test("a subscription that is refused for now is sent again when the server says, unless the symbol has been left", () => {
  const { feed, receive, last, refusals, due, timers } = subscribed();
  const refusal = { op: "error", id: "BTCUSDT", parameter: "topics", detail: "starting", retry_after_s: 2 };
  receive(refusal);
  assert.equal(due().ms, 2_000);
  due().act();
  assert.deepEqual(last().sent[1], last().sent[0]);
  assert.equal(last().sent.length, 2);
  receive(refusal);
  feed.follow(new Map([["ETHUSDT", []]]));

  assert.equal(timers.size, 0);
  assert.deepEqual(refusals, ["BTCUSDT: starting", "BTCUSDT: starting"]);
});

test("any other refusal is reported", () => {
  const { receive, refusals } = subscribed();
  receive({ op: "error", id: "BTCUSDT", parameter: "topics", detail: "unknown symbol" });

  assert.deepEqual(refusals, ["BTCUSDT: unknown symbol"]);
});

test("several symbols are followed over one connection, and only what changes is asked for", () => {
  const { feed, last } = subscribed();
  const { sent } = last();
  feed.follow(new Map([...BTC_ONLY, ["ETHUSDT", []]]));
  assert.deepEqual(sent.slice(1), [subscription("ETHUSDT")]);
  feed.follow(new Map([["ETHUSDT", []]]));

  assert.deepEqual(sent.slice(2), [{ op: "unsubscribe", topics: topicsOf("BTCUSDT") }]);
});

test("a user who leafs through the symbols is not cut off: the last one is asked for when it may be", () => {
  const { feed, last, clock, due } = subscribed();
  const { sent } = last();
  for (let at = 0; at < 60; at += 1) feed.follow(new Map([[`S${at}`, []]]));
  const asked = sent.length;
  assert.ok(asked <= 45 && asked > 30, String(asked));
  clock.nowMs += 10_000;
  due().act();

  assert.deepEqual(sent.at(-1), subscription("S59"));
  assert.equal(sent.length, asked + 2);
});

test("each symbol has its own views, and one that was left has none", () => {
  const { feed, views, receive, receiveAll } = subscribed();
  feed.follow(new Map([["ETHUSDT", []]]));
  for (const topic of topicsOf("ETHUSDT"))
    if (!topic.startsWith("trades")) receive({ topic, seq: 5, symbol: "ETHUSDT", metrics: {} });
  receiveAll(6);

  assert.deepEqual(
    views.map(({ symbol, seq }) => [symbol, seq]),
    [["ETHUSDT", 5]],
  );
});

test("further topics are subscribed to one by one, and again after a reconnection", () => {
  const { feed, others, receive, last, refusals } = subscribed();
  const { sent } = last();
  feed.follow(new Map([["BTCUSDT", [{ topic: "ladder.BTCUSDT.5", rows: 20 }]]]));
  const request = { op: "subscribe", id: "ladder.BTCUSDT.5", topics: ["ladder.BTCUSDT.5"], rows: 20 };
  assert.deepEqual(sent.slice(1), [request]);
  receive({ topic: "ladder.BTCUSDT.5" });
  receive({ op: "error", id: "ladder.BTCUSDT.5", parameter: "topics", detail: "no such group" });
  assert.deepEqual([others, refusals], [["ladder.BTCUSDT.5"], []]);
  last().lose(1006);
  feed.retryNow();
  last().open();
  assert.deepEqual(last().sent.slice(1), [request]);
  feed.follow(BTC_ONLY);

  assert.deepEqual(last().sent.at(-1), { op: "unsubscribe", topics: ["ladder.BTCUSDT.5"] });
});

test("a topic that two panels want is asked for once, with the most rows and the higher rate", () => {
  const { feed, last } = subscribed();
  const topic = "ladder.BTCUSDT.5";
  /** @type {import("../../static/feed.js").OtherTopic[]} */
  const wanted = [
    { topic, rows: 100, rate: "4hz" },
    { topic, rows: 20 },
  ];
  feed.follow(new Map([["BTCUSDT", wanted]]));

  assert.deepEqual(last().sent.slice(1), [{ op: "subscribe", id: topic, topics: [topic], rows: 100 }]);
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
