// What panels are given to paint.

import assert from "node:assert/strict";
import { test } from "node:test";

import { intervalOf, MINUTE } from "../../static/intervals.js";
import { chartKey, emptyPage, forgetOthers, heldDisplay, panelModel } from "../../static/page_model.js";
import { applyView, emptyBook } from "../../static/state.js";
import { trades, view } from "./support.mjs";

/** @import {FetchStatus} from "../../static/fetcher.js" */
/** @import {Page, Statuses} from "../../static/page_model.js" */
/** @import {SymbolInfo, View} from "../../static/types.js" */

/** @type {SymbolInfo} */
const BTC_INFO = {
  symbol: "BTCUSDT",
  base_asset: "BTC",
  quote_asset: "USDT",
  status: "TRADING",
  tick_size: 0.01,
  lot_size: 0.00001,
  price_decimals: 2,
  quantity_decimals: 5,
  state: "live",
  history: null,
};

/** @type {FetchStatus} */
const READY = { phase: "ready", reason: "", retryAtMs: 0 };

/** @type {Statuses} */
const STATUSES = {
  connection: { phase: "open", attempt: 0, retryAtMs: 0, openedAtMs: 1, lastMessageAtMs: 1_000, reason: "" },
  history: READY,
  symbols: READY,
  proof: READY,
};

/**
 * Return a page that shows this view of BTCUSDT, received at 1 s.
 * @param {Partial<View>} change
 * @returns {Page}
 */
function showing(change = {}) {
  const page = {
    ...emptyPage(MINUTE),
    symbols: [BTC_INFO],
    listed: ["BTCUSDT"],
    selected: "BTCUSDT",
    shown: "BTCUSDT",
  };
  page.books.set("BTCUSDT", applyView(emptyBook("BTCUSDT"), view(change), 1_000));
  return page;
}

test("the model has the displayed book, its instrument and its status", () => {
  const model = panelModel(showing(), STATUSES, 1_100);

  assert.equal(model.view?.symbol, "BTCUSDT");
  assert.equal(model.instrument?.price_decimals, 2);
  assert.deepEqual([model.status.kind, model.status.ageMs], ["live", 140]);
});

test("a paused display keeps its book and counts the trades that arrive meanwhile", () => {
  const page = showing({ trades: trades(2, 1) });
  const book = page.books.get("BTCUSDT") ?? emptyBook("");
  page.paused = heldDisplay(page, STATUSES, 1_000);
  page.books.set("BTCUSDT", applyView(book, view({ seq: 2, trades: trades(4, 3) }), 1_050));
  const model = panelModel(page, STATUSES, 1_100);

  assert.equal(model.view?.seq, 1);
  assert.equal(model.newTrades, 2);
});

test("an interval longer than a minute has bars of its own", () => {
  const hour = intervalOf("1h");
  const bar = { time: 0, open: 1, high: 1, low: 1, close: 1, volume: 1, missing: 0 };
  const page = { ...showing(), interval: hour };
  page.charts.set(chartKey("BTCUSDT", hour), { bars: [bar], live: null });

  assert.deepEqual(panelModel(page, STATUSES, 1_100).bars, [bar]);
  assert.deepEqual(panelModel({ ...page, interval: MINUTE }, STATUSES, 1_100).bars, []);
});

test("a paused display keeps its bars on every interval", () => {
  const hour = intervalOf("1h");
  const bar = { time: 0, open: 1, high: 1, low: 1, close: 1, volume: 1, missing: 0 };
  const [before, after] = [
    { bars: [bar], live: { ...bar, time: 3_600 } },
    { bars: [bar, { ...bar, time: 3_600 }], live: { ...bar, time: 7_200 } },
  ];
  const page = { ...showing(), interval: hour };
  page.charts.set(chartKey("BTCUSDT", hour), before);
  page.paused = heldDisplay(page, STATUSES, 5_000_000);
  page.charts.set(chartKey("BTCUSDT", hour), after);
  const model = panelModel(page, STATUSES, 8_000_000);

  assert.deepEqual({ bars: model.bars, live: model.live }, before);
});

test("an interval chosen while paused has the bars that had closed by then", () => {
  const hour = intervalOf("1h");
  const bar = { time: 0, open: 1, high: 1, low: 1, close: 1, volume: 1, missing: 0 };
  const page = showing();
  page.paused = heldDisplay(page, STATUSES, 5_000_000); // at 1 h 23 min
  page.interval = hour;
  const bars = [bar, { ...bar, time: 3_600 }];
  page.charts.set(chartKey("BTCUSDT", hour), { bars, live: { ...bar, time: 7_200 } });
  const model = panelModel(page, STATUSES, 8_000_000);

  assert.deepEqual([model.bars, model.live], [[bar], null]);
});

test("before the symbols are known the status says what is loading, or why it is not", () => {
  const page = emptyPage(MINUTE);
  const waiting = {
    ...READY,
    phase: /** @type {const} */ ("waiting"),
    reason: "The server cannot be reached",
    retryAtMs: 4_000,
  };

  assert.equal(panelModel(page, STATUSES, 1_000).status.text, "Connecting: loading the symbols");
  const { status, isRetryable } = panelModel(page, { ...STATUSES, symbols: waiting }, 1_000);
  assert.equal(status.text, "Disconnected: The server cannot be reached. Trying again in 3 s");
  assert.deepEqual([status.kind, isRetryable], ["disconnected", true]);
});

test("a selected symbol without a view is loading", () => {
  const page = { ...showing(), selected: "ETHUSDT", shown: "ETHUSDT" };

  assert.equal(panelModel(page, STATUSES, 1_100).status.text, "Loading ETHUSDT");
});

test("books and charts of symbols that are no longer followed are dropped", () => {
  const page = showing();
  const hour = intervalOf("1h");
  for (const symbol of ["BTCUSDT", "OLDUSDT"]) {
    page.books.set(symbol, emptyBook(symbol));
    page.charts.set(chartKey(symbol, hour), { bars: [], live: null });
  }
  forgetOthers(page);

  assert.deepEqual([...page.books.keys()], ["BTCUSDT"]);
  assert.deepEqual([...page.charts.keys()], ["BTCUSDT 1h"]);
});
