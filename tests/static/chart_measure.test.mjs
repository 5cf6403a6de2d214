// The ruler, the horizontal lines and the chart's file.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  csvOf,
  durationText,
  LINES_MAX,
  linesOf,
  linesText,
  onTick,
  rulerText,
  toggledLine,
} from "../../static/panels/chart/measure.js";
import { BAR_REST, BTC } from "./support.mjs";

const BARS = [0, 60, 120, 180].map((time) => ({ time, open: 1, high: 2, low: 1, close: 2, volume: 1.5, ...BAR_REST }));

test("the ruler measures the change, the bars after the first point, their time and their volume", () => {
  const text = rulerText({ time: 0, price: 100 }, { time: 120, price: 101.5 }, BARS, BTC);

  assert.equal(text, "+1.50 (+1.50 %), 2 bars, 2 min, 3.000 BTC");
});

test("the ruler measures backwards too", () => {
  const text = rulerText({ time: 180, price: 200 }, { time: 120, price: 100 }, BARS, BTC);

  assert.equal(text, "\u2212100.00 (\u221250.00 %), 1 bar, 1 min, 1.500 BTC");
});

test("durations are texts", () => {
  assert.deepEqual([60, 3_540, 3_600, 11_100, 187_200].map(durationText), [
    "1 min",
    "59 min",
    "1 h 00 min",
    "3 h 05 min",
    "2 d 4 h",
  ]);
});

test("lines are kept as a text, and what is no price is left out", () => {
  assert.deepEqual(linesOf("61000,0.5,61000,x,-1,,Infinity"), [61000, 0.5]);
  assert.deepEqual(linesOf(""), []);
  assert.equal(linesText([61000, 0.5]), "61000,0.5");
  assert.equal(linesOf(Array.from({ length: 50 }, (_, at) => at + 1).join()).length, LINES_MAX);
});

test("a line is drawn where there is none, and taken away where there is one", () => {
  assert.deepEqual(toggledLine([100], 110, 2), [100, 110]);
  assert.deepEqual(toggledLine([100, 110], 101, 2), [110]);
  const full = Array.from({ length: LINES_MAX }, (_, at) => 100 * (at + 1));
  assert.deepEqual(toggledLine(full, 7, 1), [...full.slice(1), 7]);
});

test("a line lies on a tick", () => {
  assert.equal(onTick(100.017, BTC), 100.02);
  assert.equal(onTick(0.123456789, { tick_size: 0, price_decimals: 8 }), 0.12345679);
});

test("the file has a head and a line for each bar", () => {
  const [head, first, ...rest] = csvOf(BARS).split("\r\n");

  assert.equal(
    head,
    "timestamp,open,high,low,close,volume,quote_volume,taker_buy_volume,source,reconciled,missing_minutes",
  );
  assert.equal(first, "1970-01-01T00:00:00+00:00,1,2,1,2,1.5,4,2,live,false,0");
  assert.deepEqual([rest.length, rest.at(-1)], [4, ""]);
});
