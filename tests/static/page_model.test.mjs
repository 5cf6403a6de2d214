// What panels are given to paint.

import assert from "node:assert/strict";
import { test } from "node:test";

import { intervalOf, MINUTE } from "../../static/intervals.js";
import { emptyPage, forgetOthers, heldDisplay, panelModel, storeOf } from "../../static/page_model.js";
import { applyView, emptyBook } from "../../static/state.js";
import { BAR_REST, trades, view } from "./support.mjs";

/** @import {FetchStatus} from "../../static/fetcher.js" */
/** @import {Page} from "../../static/page_model.js" */
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

/**
 * Return a page at `nowMs` that shows this view of BTCUSDT, received at 1 s.
 * @param {Partial<View>} change
 * @returns {Page}
 */
function showing(change = {}, nowMs = 1_100) {
  const page = opened(nowMs);
  Object.assign(page, { symbols: [BTC_INFO], listed: ["BTCUSDT"], selected: "BTCUSDT", shown: "BTCUSDT" });
  storeOf(page, "BTCUSDT").book = applyView(emptyBook("BTCUSDT"), view(change), 1_000);
  return page;
}

function opened(nowMs = 1_000) {
  const page = emptyPage(MINUTE);
  const connection = { attempt: 0, retryAtMs: 0, openedAtMs: 1, lastMessageAtMs: 1_000, reason: "" };
  return Object.assign(page, { nowMs, symbolsStatus: READY, connection: { ...connection, phase: "open" } });
}

test("the model has the displayed book, its instrument and its status", () => {
  const model = panelModel(showing());

  assert.equal(model.view?.symbol, "BTCUSDT");
  assert.equal(model.instrument?.price_decimals, 2);
  assert.deepEqual([model.status.kind, model.status.ageMs], ["live", 140]);
});

test("a paused display keeps its book and counts the trades that arrive meanwhile", () => {
  const page = showing({ trades: trades(2, 1) });
  const store = storeOf(page, "BTCUSDT");
  page.paused = heldDisplay(page, 1_000);
  store.book = applyView(store.book, view({ seq: 2, trades: trades(4, 3) }), 1_050);
  const model = panelModel(page);

  assert.equal(model.view?.seq, 1);
  assert.deepEqual([model.newTrades, model.paused?.wasTrusted], [2, true]);
});

test("an interval longer than a minute has bars of its own", () => {
  const hour = intervalOf("1h");
  const bar = { time: 0, open: 1, high: 1, low: 1, close: 1, volume: 1, ...BAR_REST };
  const page = Object.assign(showing(), { interval: hour });
  storeOf(page, "BTCUSDT").charts.set("1h", { bars: [bar], live: null });
  const model = panelModel(page);

  assert.deepEqual(model.bars, [bar]);
  page.interval = MINUTE;
  assert.deepEqual(model.bars, []);
});

test("a paused display keeps its bars on every interval", () => {
  const hour = intervalOf("1h");
  const bar = { time: 0, open: 1, high: 1, low: 1, close: 1, volume: 1, ...BAR_REST };
  const [before, after] = [
    { bars: [bar], live: { ...bar, time: 3_600 } },
    { bars: [bar, { ...bar, time: 3_600 }], live: { ...bar, time: 7_200 } },
  ];
  const page = Object.assign(showing(), { interval: hour });
  storeOf(page, "BTCUSDT").charts.set("1h", before);
  page.paused = heldDisplay(page, 5_000_000);
  storeOf(page, "BTCUSDT").charts.set("1h", after);
  const model = panelModel(page);

  assert.deepEqual({ bars: model.bars, live: model.live }, before);
});

test("an interval chosen while paused has the bars that had closed by then", () => {
  const hour = intervalOf("1h");
  const bar = { time: 0, open: 1, high: 1, low: 1, close: 1, volume: 1, ...BAR_REST };
  const page = showing();
  page.paused = heldDisplay(page, 5_000_000); // at 1 h 23 min
  page.interval = hour;
  const bars = [bar, { ...bar, time: 3_600 }];
  storeOf(page, "BTCUSDT").charts.set("1h", { bars, live: { ...bar, time: 7_200 } });
  const model = panelModel(page);

  assert.deepEqual([model.bars, model.live], [[bar], null]);
});

test("before the symbols are known the status says what is loading, or why it is not", () => {
  const page = opened();
  const waiting = {
    ...READY,
    phase: /** @type {const} */ ("waiting"),
    reason: "The server cannot be reached",
    retryAtMs: 4_000,
  };

  assert.equal(panelModel(page).status.text, "Connecting: loading the symbols");
  page.symbolsStatus = waiting;
  const { status, isRetryable } = panelModel(page);
  assert.equal(status.text, "Disconnected: The server cannot be reached. Trying again in 3 s");
  assert.deepEqual([status.kind, isRetryable], ["disconnected", true]);
});

test("a selected symbol without a view is loading", () => {
  const page = Object.assign(showing(), { selected: "ETHUSDT", shown: "ETHUSDT" });

  assert.equal(panelModel(page).status.text, "Loading ETHUSDT");
});

test("what is kept of symbols that are no longer followed is dropped, unless they are on the screen", () => {
  const page = showing();
  for (const symbol of ["OLDUSDT", "PINUSDT"]) storeOf(page, symbol);
  storeOf(page, "PINUSDT").followedAtMs = 1;
  forgetOthers(page);

  assert.deepEqual(page.stores.keys(), ["BTCUSDT", "PINUSDT"]);
});

test("a view from before the symbol was subscribed to again is not of now", () => {
  const page = showing();
  storeOf(page, "BTCUSDT").followedAtMs = 1_050;

  assert.equal(panelModel(page).status.text, "Loading BTCUSDT");
  assert.equal(panelModel(page).status.trusted, false);
});

test("a pinned panel has its own symbol's book, whatever is selected, and its status", () => {
  const page = showing();
  const store = storeOf(page, "ETHUSDT");
  store.book = applyView(emptyBook("ETHUSDT"), view({ symbol: "ETHUSDT", state: "halted", seq: 9 }), 1_000);
  const pinned = panelModel(page, "ETHUSDT");

  assert.deepEqual([pinned.view?.seq, pinned.status.kind, pinned.isPinned], [9, "halted", true]);
  assert.deepEqual([panelModel(page).view?.seq, panelModel(page).status.kind], [1, "live"]);
});

test("a pause holds every symbol on the screen", () => {
  const page = showing();
  const store = storeOf(page, "ETHUSDT");
  store.book = applyView(emptyBook("ETHUSDT"), view({ symbol: "ETHUSDT", seq: 9 }), 1_000);
  page.paused = heldDisplay(page, 1_000);
  store.book = applyView(store.book, view({ symbol: "ETHUSDT", seq: 10 }), 1_050);

  assert.equal(panelModel(page, "ETHUSDT").view?.seq, 9);
});

test("a further topic's message is that of the panel's symbol", () => {
  const page = showing();
  const message = { topic: "ladder.BTCUSDT.5", seq: 1, instance: "a", symbol: "BTCUSDT" };
  const model = panelModel(page);
  assert.equal(model.message("ladder.BTCUSDT.5"), null);
  storeOf(page, "BTCUSDT").messages.set("ladder.BTCUSDT.5", message);

  assert.equal(model.message("ladder.BTCUSDT.5"), message);
});
