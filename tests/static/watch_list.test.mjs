// The watchlist: its order, its search and what its columns read.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FIRST_ORDER, listed, orderOf, orderText, pressed, rowTexts } from "../../static/watch_list.js";

/** @import {WatchRow} from "../../static/types.js" */
/** @import {WatchOrder} from "../../static/watch_list.js" */

/**
 * @param {string} symbol
 * @param {Partial<WatchRow>} change
 * @returns {WatchRow}
 */
function row(symbol, change = {}) {
  return { symbol, last: 1, change_percent: 0, high: 1, low: 1, quote_volume: 5, trade_count: 1, ...change };
}

const ROWS = [
  row("ETHUSDT", { change_percent: -2, quote_volume: 7 }),
  row("BTCUSDT", { change_percent: 3, quote_volume: 9 }),
  row("OLDUSDT", { last: null, change_percent: null, quote_volume: null }),
  row("ETHBTC", { change_percent: -2, quote_volume: 1 }),
];

/**
 * @param {WatchOrder} order
 * @param {string} text
 */
const names = (order, text = "") => listed(ROWS, order, text).map(({ symbol }) => symbol);

test("the largest volume comes first, and what is not known last in either direction", () => {
  assert.deepEqual(names(FIRST_ORDER), ["BTCUSDT", "ETHUSDT", "ETHBTC", "OLDUSDT"]);
  assert.deepEqual(names({ key: "quote_volume", isRising: true }), ["ETHBTC", "ETHUSDT", "BTCUSDT", "OLDUSDT"]);
});

test("equal ones are in the order of their names", () => {
  assert.deepEqual(names({ key: "change_percent", isRising: false }), ["BTCUSDT", "ETHBTC", "ETHUSDT", "OLDUSDT"]);
});

test("names are sorted and searched in any case", () => {
  assert.deepEqual(names({ key: "symbol", isRising: true }, " eth "), ["ETHBTC", "ETHUSDT"]);
  assert.deepEqual(names({ key: "symbol", isRising: false }), ["OLDUSDT", "ETHUSDT", "ETHBTC", "BTCUSDT"]);
  assert.deepEqual(names(FIRST_ORDER, "x"), []);
});

test("sorting leaves the report as it was", () => {
  const before = [...ROWS];
  names({ key: "symbol", isRising: true });

  assert.deepEqual(ROWS, before);
});

test("a press turns the order of a column, and takes another one from its useful end", () => {
  const byVolume = pressed(FIRST_ORDER, "quote_volume");

  assert.deepEqual(byVolume, { key: "quote_volume", isRising: true });
  assert.deepEqual(pressed(byVolume, "symbol"), { key: "symbol", isRising: true });
  assert.deepEqual(pressed(byVolume, "change_percent"), { key: "change_percent", isRising: false });
});

test("an order is stored as a text, and any other text is the first order", () => {
  for (const order of [FIRST_ORDER, pressed(FIRST_ORDER, "symbol")]) assert.deepEqual(orderOf(orderText(order)), order);
  assert.equal(orderOf("price-up"), FIRST_ORDER);
  assert.equal(orderOf(null), FIRST_ORDER);
});

test("columns read with a sign, grouped, and with the decimals of the tick size where they are known", () => {
  const texts = rowTexts(row("BTCUSDT", { last: 61234.5, change_percent: 1.234, quote_volume: 1_234_567 }), 2);

  assert.deepEqual(texts, { last: "61,234.50", change: "+1.23 %", volume: "1.2M" });
  assert.equal(rowTexts(row("X", { last: 0.000012349 }), undefined).last, "0.00001235");
  assert.equal(rowTexts(row("X", { last: 61234.5 }), undefined).last, "61,234.5");
  assert.equal(rowTexts(row("X", { last: 0 }), undefined).last, "0");
});

test("volumes have a unit above a million", () => {
  const volume = (/** @type {number} */ quote) => rowTexts(row("X", { quote_volume: quote }), 2).volume;

  assert.deepEqual([7.25, 990.4, 999_999, 25_000_000, 3.2e10].map(volume), ["7.3", "990", "999,999", "25.0M", "32.0B"]);
});

test("what is not known is a dash", () => {
  const nulls = { last: null, change_percent: null, quote_volume: null };

  assert.deepEqual(Object.values(rowTexts(row("X", nulls), 2)), ["\u2013", "\u2013", "\u2013"]);
});
