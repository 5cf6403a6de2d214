// What the page knows after each piece of news, and how far it says that may be trusted.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  apply,
  applyHistory,
  BARS_MAX,
  continues,
  emptyBook,
  firstSymbol,
  lastTrade,
  levelChanges,
  matching,
  mergeBars,
  mergeTrades,
  missesMinute,
  SAMPLES_MAX,
  sourceWords,
  storeWords,
  tapeRows,
  tradeBalance,
  TRADES_MAX,
  verdict,
  withoutUnknown,
} from "../../static/state.js";

const OPEN = { phase: "open", attempt: 0, retryAtMs: 0, openedAtMs: 1_000, lastMessageAtMs: 10_000 };

const PROOF = {
  contiguous_since_ms: 5,
  resyncs: 0,
  touch_compared: 3,
  touch_equal: 3,
  top_compared: 1,
  top_equal: 1,
};

function picture(change = {}) {
  return {
    seq: 1,
    instance: "aaaaaaaa",
    symbol: "BTCUSDT",
    state: "live",
    state_reason: "",
    source: "exchange",
    instrument: { tick_size: 0.01 },
    metrics: { mid_price: 100 },
    proof: PROOF,
    trades: [],
    candle: null,
    closed_candle: null,
    data_age_ms: 40,
    ...change,
  };
}

function candle(minute, change = {}) {
  const timestamp = new Date(minute * 60_000).toISOString();
  return { timestamp, open: 1, high: 2, low: 0.5, close: 1.5, volume: 3, ...change };
}

function trades(...ids) {
  return ids.map((id) => ({ id, price: id, quantity: 1, aggressor: "buyer" }));
}

function ids(list) {
  return list.map(({ id }) => id);
}

// ---- pictures

test("a picture replaces the one before it", () => {
  const book = apply(apply(emptyBook("BTCUSDT"), picture(), 5), picture({ seq: 2 }), 7);

  assert.equal(book.picture.seq, 2);
  assert.equal(book.receivedAtMs, 7);
});

test("an older picture of the same process changes nothing", () => {
  const book = apply(emptyBook("BTCUSDT"), picture({ seq: 9 }), 5);

  assert.equal(apply(book, picture({ seq: 8 }), 7), book);
});

test("another process counts anew, and its picture is taken", () => {
  const book = apply(emptyBook("BTCUSDT"), picture({ seq: 9 }), 5);

  assert.equal(apply(book, picture({ seq: 1, instance: "bbbbbbbb" }), 7).picture.seq, 1);
});

test("a picture of another symbol changes nothing", () => {
  const book = emptyBook("BTCUSDT");

  assert.equal(apply(book, picture({ symbol: "ETHUSDT" }), 5), book);
});

test("a simulation that began again leaves nothing of the old one behind", () => {
  const before = apply(emptyBook("BTCUSDT"), picture({ source: "simulation", trades: trades(9, 8) }), 5);
  const after = apply(before, picture({ source: "simulation", instance: "bbbbbbbb", trades: trades(2, 1) }), 7);

  assert.deepEqual(ids(after.trades), [2, 1]);
});

test("an exchange's trades stay when the server restarts", () => {
  const before = apply(emptyBook("BTCUSDT"), picture({ trades: trades(8) }), 5);
  const after = apply(before, picture({ instance: "bbbbbbbb", trades: trades(9) }), 7);

  assert.deepEqual(ids(after.trades), [9, 8]);
});

test("the small lines get one sample a second, a bounded number of them, and a hole while not live", () => {
  let book = emptyBook("BTCUSDT");
  for (let at = 0; at < SAMPLES_MAX + 5; at += 1) book = apply(book, picture({ seq: at }), at * 1000);
  const stale = apply(book, picture({ seq: 999, state: "stale" }), 900_000);

  assert.equal(book.samples.length, SAMPLES_MAX);
  assert.equal(apply(book, picture({ seq: 998 }), (SAMPLES_MAX + 4) * 1000 + 500).samples, book.samples);
  assert.equal(stale.samples.at(-1).metrics, null);
});

test("a book remembers what its witnesses had said when it joined", () => {
  const first = apply(emptyBook("BTCUSDT"), picture(), 5);
  const next = apply(first, picture({ seq: 2, proof: { ...PROOF, touch_compared: 9, touch_equal: 9 } }), 7);

  assert.equal(first.joined.compared, 0);
  assert.equal(next.joined, first.joined);
});

// ---- trades

test("trades of overlapping pictures merge by id, newest first, none twice", () => {
  assert.deepEqual(ids(mergeTrades(trades(5, 4, 3), trades(7, 6, 5, 4))), [7, 6, 5, 4, 3]);
});

test("trades that were missing take their place when they come late", () => {
  assert.deepEqual(ids(mergeTrades(trades(5, 2), trades(4, 3))), [5, 4, 3, 2]);
});

test("nothing new leaves the very same list", () => {
  const known = trades(5, 4);

  assert.equal(mergeTrades(known, trades(5, 4)), known);
});

test("the list of trades is bounded and drops the oldest", () => {
  const many = mergeTrades([], trades(...Array.from({ length: TRADES_MAX + 50 }, (_, at) => at)));

  assert.equal(many.length, TRADES_MAX);
  assert.equal(many[0].id, TRADES_MAX + 49);
  assert.equal(mergeTrades(many, trades(3)), many);
});

test("the tape says how many trades it never saw, exactly where they are missing", () => {
  const rows = tapeRows(trades(10, 9, 5));

  assert.deepEqual(
    rows.map((row) => row.missing ?? row.trade.id),
    [10, 9, 3, 5],
  );
});

test("the tape's rows are bounded, gaps included", () => {
  const sparse = trades(...Array.from({ length: 50 }, (_, at) => 1000 - at * 2));

  assert.equal(tapeRows(sparse, 20).length, 20);
});

test("the last price knows where it came from", () => {
  const at = (...prices) => prices.map((price) => ({ price }));

  assert.deepEqual(lastTrade(at(5, 5, 4)), { price: 5, direction: 1 });
  assert.deepEqual(lastTrade(at(3, 4)), { price: 3, direction: -1 });
  assert.deepEqual(lastTrade(at(3)), { price: 3, direction: 0 });
  assert.equal(lastTrade([]), null);
});

test("the balance is what takers bought against what they sold", () => {
  const sold = { id: 1, price: 1, quantity: 3, aggressor: "seller" };

  assert.deepEqual(tradeBalance([...trades(2), sold]), { bought: 1, sold: 3, part: 0.25 });
  assert.equal(tradeBalance([]).part, null);
});

// ---- levels

test("a level that grew, shrank or is new has changed", () => {
  const changes = levelChanges(
    [
      [100, 5],
      [99, 3],
      [97, 1],
    ],
    [
      [100, 6],
      [99, 2],
      [98, 4],
      [97, 1],
    ],
  );

  assert.deepEqual(
    [...changes],
    [
      [100, "up"],
      [99, "down"],
      [98, "up"],
    ],
  );
});

test("a level that only came into view has not changed", () => {
  assert.equal(
    levelChanges(
      [
        [100, 5],
        [99, 3],
      ],
      [
        [99, 3],
        [98, 9],
      ],
    ).size,
    0,
  );
  assert.equal(
    levelChanges(
      [
        [101, 5],
        [102, 3],
      ],
      [
        [102, 3],
        [103, 9],
      ],
    ).size,
    0,
  );
  assert.equal(levelChanges([], [[100, 5]]).size, 0);
});

test("a new best level has changed", () => {
  assert.deepEqual(
    [
      ...levelChanges(
        [
          [100, 5],
          [99, 3],
        ],
        [
          [101, 1],
          [100, 5],
        ],
      ),
    ],
    [[101, "up"]],
  );
});

// ---- bars

test("history and closed minutes merge by time, and the fetched one wins", () => {
  const lived = apply(emptyBook("BTCUSDT"), picture({ closed_candle: candle(3) }), 5);
  const book = applyHistory(lived, [candle(1), candle(3, { close: 1.6 })]);

  assert.deepEqual(
    book.bars.map(({ time, close }) => [time, close]),
    [
      [60, 1.5],
      [180, 1.6],
    ],
  );
});

test("the same closed minute again leaves the very same bars", () => {
  const book = apply(emptyBook("BTCUSDT"), picture({ closed_candle: candle(3) }), 5);

  assert.equal(apply(book, picture({ seq: 2, closed_candle: candle(3) }), 6).bars, book.bars);
});

test("the bars are bounded and drop the oldest", () => {
  const bars = mergeBars(
    [],
    Array.from({ length: BARS_MAX + 3 }, (_, at) => ({ time: at * 60 })),
  );

  assert.equal(bars.length, BARS_MAX);
  assert.equal(bars[0].time, 180);
});

test("a chart may append when only the end changed, and must start over when the past did", () => {
  const painted = mergeBars(
    [],
    [
      { time: 60, open: 1 },
      { time: 120, open: 2 },
    ],
  );

  assert.ok(continues(painted, mergeBars(painted, [{ time: 180, open: 3 }])));
  assert.ok(continues(painted, mergeBars(painted, [{ time: 120, open: 9 }])));
  assert.ok(!continues(painted, mergeBars(painted, [{ time: 0, open: 3 }])));
  assert.ok(!continues(painted, []));
  assert.ok(!continues([], painted));
});

test("a minute missing among the newest ones is noticed, and an old hole left alone", () => {
  const after = (from, count) => Array.from({ length: count }, (_, at) => ({ time: from + at * 60 }));

  assert.ok(missesMinute([{ time: 60 }, { time: 240 }]));
  assert.ok(missesMinute([{ time: 60 }, ...after(240, 5)]));
  assert.ok(!missesMinute([{ time: 60 }, ...after(240, 10)]));
  assert.ok(!missesMinute([{ time: 60 }, { time: 120 }]));
  assert.ok(!missesMinute([{ time: 60 }]));
  assert.ok(!missesMinute([]));
});

// ---- the verdict

function judged(change, { connection = OPEN, nowMs = 10_100, fault = "" } = {}) {
  return verdict({ connection, book: apply(emptyBook("BTCUSDT"), picture(change), 10_000), nowMs, fault });
}

test("a fresh live picture over an open line is live, and that alone is trusted", () => {
  assert.deepEqual(judged({}), { kind: "live", words: "Live", counts: false, ageMs: 140, trusted: true });
});

test("a simulation and a replay never read as plainly live", () => {
  assert.equal(judged({ source: "simulation" }).words, "Live simulation");
  assert.equal(judged({ source: "replay" }).words, "Replaying");
});

test("whatever the server says of the book is said with its reason, and not trusted", () => {
  const said = judged({ state: "syncing", state_reason: "waiting for a snapshot" });

  assert.equal(said.words, "Syncing: waiting for a snapshot");
  assert.equal(said.trusted, false);
  assert.equal(judged({ state: "offline", state_reason: "HTTP 451" }).words, "Offline: HTTP 451");
  assert.equal(judged({ state: "halted" }).words, "Halted");
});

test("a book of which the digits are not known yet is neither live nor painted", () => {
  const book = apply(emptyBook("BTCUSDT"), picture({ instrument: null }), 10_000);

  assert.equal(judged({ instrument: null }).words, "Syncing: the exchange has not said yet how this symbol is traded");
  assert.equal(judged({ instrument: null, state: "offline", state_reason: "HTTP 451" }).words, "Offline: HTTP 451");
  assert.equal(withoutUnknown(book).picture, null);
  assert.equal(withoutUnknown(apply(book, picture({ seq: 9 }), 10_100)).picture.seq, 9);
  assert.equal(withoutUnknown(emptyBook("BTCUSDT")).picture, null);
});

test("what was never heard of has no age", () => {
  assert.equal(judged({ state: "offline", data_age_ms: null }).ageMs, null);
});

test("a stale book counts the seconds since the exchange was last heard of", () => {
  assert.equal(judged({ state: "stale", data_age_ms: 7_000 }).words, "Stale: no update for 7 s");
});

test("a server that is silent for more than three seconds makes a live picture stale", () => {
  assert.equal(judged({}, { nowMs: 13_000 }).kind, "live");
  const said = judged({}, { nowMs: 17_200 });

  assert.equal(said.kind, "stale");
  assert.equal(said.words, "Stale: server silent for 7 s");
});

test("a lost line counts down to the next try", () => {
  const connection = { ...OPEN, phase: "waiting", attempt: 1, retryAtMs: 14_000 };
  const said = judged({}, { connection });

  assert.equal(said.kind, "disconnected");
  assert.equal(said.words, "Disconnected: reconnecting in 4 s");
  assert.equal(said.ageMs, 140);
});

test("a picture from before the line opened again is not called live", () => {
  assert.equal(judged({}, { connection: { ...OPEN, openedAtMs: 10_050 } }).kind, "connecting");
});

test("before the first picture there is nothing to trust", () => {
  const said = verdict({ connection: OPEN, book: emptyBook("BTCUSDT"), nowMs: 10_100 });

  assert.equal(said.kind, "connecting");
  assert.equal(said.ageMs, null);
  assert.equal(verdict({ connection: { phase: "idle" }, book: undefined, nowMs: 0 }).kind, "connecting");
});

test("a refused symbol is not waited for: the server's reason is said", () => {
  const refusal = "This server follows 2 symbols at once.";
  const said = verdict({ connection: OPEN, book: emptyBook("BTCUSDT"), nowMs: 20_000, refusal });

  assert.deepEqual([said.kind, said.words, said.trusted], ["refused", `BTCUSDT refused: ${refusal}`, false]);
  assert.equal(verdict({ connection: { phase: "idle" }, book: undefined, nowMs: 0, refusal }).kind, "connecting");
});

test("a fault of the page itself outranks everything", () => {
  const said = judged({}, { fault: "x is undefined" });

  assert.equal(said.kind, "fault");
  assert.match(said.words, /x is undefined/);
});

test("what is not the market is called so", () => {
  assert.equal(sourceWords("simulation"), "Simulation: no real market data");
  assert.equal(sourceWords("replay"), "Replay of a recording, not live");
  assert.equal(sourceWords("exchange"), "");
});

test("the first symbol is the address's, else the remembered one, else the server's default", () => {
  const symbols = ["BTCUSDT", "ETHUSDT"];

  assert.equal(firstSymbol(symbols, "BTCUSDT", "ETHUSDT", "BTCUSDT"), "ETHUSDT");
  assert.equal(firstSymbol(symbols, "BTCUSDT", "NOPE", "ETHUSDT"), "ETHUSDT");
  assert.equal(firstSymbol(symbols, "BTCUSDT", "", null), "BTCUSDT");
  assert.equal(firstSymbol([], "", ""), "");
});

test("a symbol is found however its assets are parted, its own name and those that begin so first", () => {
  const names = ["BTCUSDT", "WBTCETH", "ETHBTC", "BTCUSD", "SOLUSDT"];

  assert.deepEqual(matching(names, "btc"), ["BTCUSDT", "BTCUSD", "WBTCETH", "ETHBTC"]);
  assert.deepEqual(matching(names, "btc/usd"), ["BTCUSD", "BTCUSDT"]);
  assert.deepEqual(matching(names, " Sol-usdt "), ["SOLUSDT"]);
  assert.deepEqual(matching(names, ""), names);
  assert.deepEqual(matching(names, "(.*"), []);
});

test("a store that is away is said with what waits", () => {
  assert.equal(storeWords(null), "");
  assert.equal(storeWords({ ok: true, pending: 3 }), "");
  assert.equal(storeWords({ ok: false, pending: 3, detail: "the disk is full" }), "Candles not stored, 3 waiting");
});
