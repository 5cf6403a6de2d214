// The state after each message, and the status derived from it.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  applyHistory,
  applyView,
  BARS_MAX,
  bookStatus,
  continues,
  emptyBook,
  lacksNewest,
  levelChanges,
  mergeBars,
  missesMinute,
  paintable,
  SAMPLES_MAX,
  sourceText,
  storeText,
} from "../../static/state.js";
import { BAR_REST, METRICS, PROOF, candle, trades, view } from "./support.mjs";

/** @import {ConnectionStatus} from "../../static/connection.js" */
/** @import {Bar} from "../../static/state.js" */
/** @import {Candle, Level, View} from "../../static/types.js" */

/** @type {ConnectionStatus} */
const OPEN = { phase: "open", attempt: 0, retryAtMs: 0, openedAtMs: 1_000, lastMessageAtMs: 10_000, reason: "" };
/** @type {ConnectionStatus} */
const IDLE = { ...OPEN, phase: "idle" };

/**
 * @param {number} minute
 * @param {Partial<Candle>} change
 */
function closed(minute, change = {}) {
  return candle(new Date(minute * 60_000).toISOString(), change);
}

/**
 * @param {number} time
 * @returns {Bar}
 */
function bar(time, open = 1) {
  return { time, open, high: 2, low: 0.5, close: 1.5, volume: 3, ...BAR_REST };
}

/** @param {{id: number}[]} list */
function ids(list) {
  return list.map(({ id }) => id);
}

/**
 * Return the book after its first view, received at `nowMs`.
 * @param {Partial<View>} change
 */
function bookOf(change = {}, nowMs = 5) {
  return applyView(emptyBook("BTCUSDT"), view(change), nowMs);
}

// ---- views

test("a view replaces the one before it", () => {
  const book = applyView(bookOf(), view({ seq: 2 }), 7);

  assert.equal(book.view?.seq, 2);
  assert.equal(book.receivedAtMs, 7);
});

test("an older view of the same process changes nothing", () => {
  const book = bookOf({ seq: 9 });

  assert.equal(applyView(book, view({ seq: 8 }), 7), book);
});

test("a view of another process is taken whatever its sequence number", () => {
  const book = applyView(bookOf({ seq: 9 }), view({ seq: 1, instance: "bbbbbbbb" }), 7);

  assert.equal(book.view?.seq, 1);
});

test("a view of another symbol changes nothing", () => {
  const book = emptyBook("BTCUSDT");

  assert.equal(applyView(book, view({ symbol: "ETHUSDT" }), 5), book);
});

test("a restarted simulation keeps nothing of the one before", () => {
  const before = bookOf({ source: "simulation", trades: trades(9, 8) });
  const after = applyView(before, view({ source: "simulation", instance: "bbbbbbbb", trades: trades(2, 1) }), 7);

  assert.deepEqual(ids(after.trades), [2, 1]);
});

test("trades of the exchange are kept when the server restarts", () => {
  const after = applyView(bookOf({ trades: trades(8) }), view({ instance: "bbbbbbbb", trades: trades(9) }), 7);

  assert.deepEqual(ids(after.trades), [9, 8]);
});

test("metrics are sampled once a second, up to a bound", () => {
  let book = emptyBook("BTCUSDT");
  for (let at = 0; at < SAMPLES_MAX + 5; at += 1) book = applyView(book, view({ seq: at }), at * 1000);

  assert.equal(book.samples.length, SAMPLES_MAX);
  assert.equal(applyView(book, view({ seq: 998 }), (SAMPLES_MAX + 4) * 1000 + 500).samples, book.samples);
});

test("a view that is not live leaves a gap in the samples", () => {
  const stale = applyView(bookOf(), view({ seq: 999, state: "stale" }), 900_000);

  assert.deepEqual(
    stale.samples.map(({ metrics }) => metrics),
    [METRICS, null],
  );
});

test("a book keeps the proof's counters from when it was joined", () => {
  const first = bookOf();
  const next = applyView(first, view({ seq: 2, proof: { ...PROOF, touch_compared: 9, touch_equal: 9 } }), 7);

  assert.equal(first.joined?.compared, 0);
  assert.equal(next.joined, first.joined);
});

// ---- levels

/**
 * @param {Record<number, number>} quantities by price
 * @param {1 | -1} order rising or falling prices
 * @returns {Level[]}
 */
function side(quantities, order) {
  const levels = Object.entries(quantities).map(
    ([price, quantity]) => /** @type {Level} */ ([Number(price), quantity]),
  );
  return levels.sort(([left], [right]) => order * (left - right));
}

test("a level that grew, shrank or is new has changed", () => {
  const changes = levelChanges(side({ 100: 5, 99: 3, 97: 1 }, -1), side({ 100: 6, 99: 2, 98: 4, 97: 1 }, -1));

  assert.deepEqual(Object.fromEntries(changes), { 100: "up", 99: "down", 98: "up" });
});

test("a level that only became visible has not changed", () => {
  assert.equal(levelChanges(side({ 100: 5, 99: 3 }, -1), side({ 99: 3, 98: 9 }, -1)).size, 0);
  assert.equal(levelChanges(side({ 101: 5, 102: 3 }, 1), side({ 102: 3, 103: 9 }, 1)).size, 0);
  assert.equal(levelChanges([], side({ 100: 5 }, -1)).size, 0);
});

test("a new best level has changed", () => {
  assert.deepEqual([...levelChanges(side({ 100: 5, 99: 3 }, -1), side({ 101: 1, 100: 5 }, -1))], [[101, "up"]]);
});

// ---- bars

test("history and closed minutes merge by time, and the fetched one replaces the other", () => {
  const book = applyHistory(bookOf({ closed_candle: closed(3) }), [closed(1), closed(3, { close: 1.6 })]);

  assert.deepEqual(
    book.bars.map(({ time, close }) => [time, close]),
    [
      [60, 1.5],
      [180, 1.6],
    ],
  );
});

test("the same closed minute again returns the same bars", () => {
  const book = bookOf({ closed_candle: closed(3) });

  assert.equal(applyView(book, view({ seq: 2, closed_candle: closed(3) }), 6).bars, book.bars);
});

test("the bars are bounded and drop the oldest", () => {
  const bars = mergeBars(
    [],
    Array.from({ length: BARS_MAX + 3 }, (_, at) => bar(at * 60)),
  );

  assert.equal(bars.length, BARS_MAX);
  assert.equal(bars[0].time, 180);
});

test("a chart may append when only the end changed, and must start over when the past did", () => {
  const painted = mergeBars([], [bar(60, 1), bar(120, 2)]);

  assert.ok(continues(painted, mergeBars(painted, [bar(180, 3)])));
  assert.ok(continues(painted, mergeBars(painted, [bar(120, 9)])));
  assert.ok(!continues(painted, mergeBars(painted, [bar(0, 3)])));
  assert.ok(!continues(painted, []));
  assert.ok(!continues([], painted));
});

test("a minute missing before the running one is noticed too", () => {
  assert.ok(lacksNewest({ bars: [bar(60)], live: bar(180) }));
  assert.ok(!lacksNewest({ bars: [bar(60)], live: bar(120) }));
  assert.ok(lacksNewest({ bars: [bar(60), bar(180)], live: null }));
  assert.ok(!lacksNewest({ bars: [], live: bar(120) }));
});

test("a minute missing among the newest ones is noticed, an older gap is not", () => {
  const after = (/** @type {number} */ from, /** @type {number} */ length) =>
    Array.from({ length }, (_, at) => ({ time: from + at * 60 }));

  assert.ok(missesMinute([{ time: 60 }, { time: 240 }]));
  assert.ok(missesMinute([{ time: 60 }, ...after(240, 5)]));
  assert.ok(!missesMinute([{ time: 60 }, ...after(240, 10)]));
  assert.ok(!missesMinute([{ time: 60 }, { time: 120 }]));
  assert.ok(!missesMinute([{ time: 60 }]));
  assert.ok(!missesMinute([]));
});

// ---- the status

/**
 * Return the status of a book whose view was received at 10 s.
 * @param {Partial<View>} change
 */
function statusOf(change, { connection = OPEN, nowMs = 10_100, fault = "" } = {}) {
  return bookStatus({ connection, book: bookOf(change, 10_000), nowMs, fault });
}

test("a fresh live view over an open connection is live, and only that is trusted", () => {
  assert.deepEqual(statusOf({}), { kind: "live", text: "Live", hasAge: false, ageMs: 140, trusted: true });
});

test("a simulation and a replay never read plainly live", () => {
  assert.equal(statusOf({ source: "simulation" }).text, "Live simulation");
  assert.equal(statusOf({ source: "replay" }).text, "Replay");
});

test("a book that is not live has the server's reason, and is not trusted", () => {
  const status = statusOf({ state: "syncing", state_reason: "waiting for a snapshot" });

  assert.equal(status.text, "Syncing: waiting for a snapshot");
  assert.equal(status.trusted, false);
  assert.equal(statusOf({ state: "offline", state_reason: "HTTP 451" }).text, "Offline: HTTP 451");
  assert.equal(statusOf({ state: "halted" }).text, "Halted");
});

test("a book whose decimals are not known yet is neither live nor painted", () => {
  const book = bookOf({ instrument: null }, 10_000);

  assert.equal(statusOf({ instrument: null }).text, "Syncing: waiting for the symbol's tick size from the exchange");
  assert.equal(statusOf({ instrument: null, state: "offline", state_reason: "HTTP 451" }).text, "Offline: HTTP 451");
  assert.equal(paintable(book).view, null);
  assert.equal(paintable(applyView(book, view({ seq: 9 }), 10_100)).view?.seq, 9);
  assert.equal(paintable(emptyBook("BTCUSDT")).view, null);
});

/**
 * @param {Partial<import("../../static/types.js").Stream>} change
 * @returns {import("../../static/types.js").Stream}
 */
function depthOf(change) {
  return { kind: "depth", state: "live", age_ms: 40, ...change };
}

test("data that never arrived has no age", () => {
  const streams = [depthOf({ age_ms: null })];
  assert.equal(statusOf({ state: "offline", data_age_ms: null, streams }).ageMs, null);
});

test("the age of a book is that of its own stream, whatever others send", () => {
  const streams = [depthOf({ age_ms: 7_000 }), depthOf({ kind: "trade", age_ms: 5 })];
  assert.equal(statusOf({ state: "offline", data_age_ms: 5, streams }).ageMs, 7_100);
});

test("a stale book has the seconds since the exchange's last update", () => {
  assert.equal(statusOf({ state: "stale", streams: [depthOf({ age_ms: 7_000 })] }).text, "Stale: no update for 7 s");
});

test("a server that is silent for more than three seconds makes a live view stale", () => {
  assert.equal(statusOf({}, { nowMs: 13_000 }).kind, "live");
  const status = statusOf({}, { nowMs: 17_200 });

  assert.equal(status.kind, "stale");
  assert.equal(status.text, "Stale: server silent for 7 s");
});

test("a lost connection counts down to the next attempt", () => {
  const status = statusOf({}, { connection: { ...OPEN, phase: "waiting", attempt: 1, retryAtMs: 14_000 } });

  assert.equal(status.kind, "disconnected");
  assert.equal(status.text, "Disconnected: reconnecting in 4 s");
  assert.equal(status.ageMs, 140);
});

test("a connection that is being restored says so", () => {
  const status = statusOf({}, { connection: { ...OPEN, phase: "connecting", attempt: 1 } });

  assert.equal(status.text, "Disconnected: reconnecting now");
});

test("a view from before a reconnection is not called live", () => {
  assert.equal(statusOf({}, { connection: { ...OPEN, openedAtMs: 10_050 } }).kind, "connecting");
});

test("before the first view nothing is trusted", () => {
  const status = bookStatus({ connection: OPEN, book: emptyBook("BTCUSDT"), nowMs: 10_100 });

  assert.deepEqual([status.kind, status.text], ["connecting", "Connected: waiting for data"]);
  assert.equal(status.ageMs, null);
  assert.equal(bookStatus({ connection: IDLE, book: undefined, nowMs: 0 }).kind, "connecting");
});

test("a refused symbol has the server's reason", () => {
  const refusal = "This server follows 2 symbols at once.";
  const status = bookStatus({ connection: OPEN, book: emptyBook("BTCUSDT"), nowMs: 20_000, refusal });

  assert.deepEqual([status.kind, status.text, status.trusted], ["refused", `BTCUSDT not available: ${refusal}`, false]);
  assert.equal(bookStatus({ connection: IDLE, book: undefined, nowMs: 0, refusal }).kind, "connecting");
});

test("an error of the page itself comes before every other status", () => {
  const status = statusOf({}, { fault: "x is undefined" });

  assert.deepEqual([status.kind, status.text], ["fault", "Page error: x is undefined. Reload the page."]);
});

test("a source that is not the market is named", () => {
  assert.equal(sourceText("simulation"), "Simulation: no real market data");
  assert.equal(sourceText("replay"), "Replay of a recording: not live data");
  assert.equal(sourceText("exchange"), "");
});

test("a store that is not available is named with the number of waiting candles", () => {
  assert.equal(storeText(null), "");
  assert.equal(storeText({ ok: true, pending: 3 }), "");
  assert.equal(storeText({ ok: false, pending: 3 }), "Candle storage not available, 3 waiting");
});
