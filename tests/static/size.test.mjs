// My size as texts: the user's sum as the server names it, and what the cost says.

import assert from "node:assert/strict";
import { test } from "node:test";

import { costLines, notionalOf } from "../../static/panels/size/text.js";

/** @type {any} */
const INSTRUMENT = { base_asset: "BTC", quote_asset: "USDT", price_decimals: 2, quantity_decimals: 5 };
const FILL = {
  quantity: 5,
  average: 100.026,
  worst: 100.03,
  mid_bps: 1.59984,
  touch_bps: 0.6,
  cost: 0.08,
  unfilled: 0,
};
/** @type {(fields?: object) => any} */
const message = (fields = {}) => ({
  cost: { notional: 1, buy: { ...FILL, is_lower_bound: false, ...fields }, sell: null },
});

test("a sum has one name", () => {
  const texts = ["10000", "10,000", " 10 000.00 ", "0.250", "007", "1.5"];
  assert.deepEqual(texts.map(notionalOf), ["10000", "10000", "10000", "0.25", "7", "1.5"]);
});

test("what is no sum has none", () => {
  for (const text of ["", "0", "0.0", "-1", "1e5", "x", "1.234567891", "1000000000000", "1.2.3", "."])
    assert.equal(notionalOf(text), "", text);
});

test("the cost of buying stands in its column", () => {
  const { lines, text } = costLines(message(), INSTRUMENT);
  const [cost, bps] = lines;
  assert.deepEqual([cost.buy, cost.sell, bps.buy], ["0.08", "\u2013", "1.60"]);
  assert.equal(text, "");
});

test("what is not filled is said, with the reason", () => {
  const bound = costLines(message({ unfilled: 1000, is_lower_bound: true }), INSTRUMENT);
  assert.equal(bound.lines[0].buy, "\u22650.08");
  assert.match(bound.text, /1,000\.0 USDT of buying is not filled: the known range of the book ends there\./);
  assert.match(costLines(message({ unfilled: 1000 }), INSTRUMENT).text, /the whole book has no more/);
});

test("without a message nothing is known", () => {
  const { lines, text } = costLines(null, null);
  assert.ok(lines.every(({ buy, sell }) => buy === "\u2013" && sell === "\u2013"));
  assert.equal(text, "");
});
