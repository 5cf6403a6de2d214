// The chart's intervals: which there are, what a longer one's candles become, and how far the past has come.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  applyCandles,
  EMPTY_CHART,
  fillingTitle,
  fillingWords,
  intervalOf,
  INTERVALS,
  MINUTE,
} from "../../static/intervals.js";

function candle(hour, close, change = {}) {
  const timestamp = `2024-08-09T0${hour}:00:00+00:00`;
  return { timestamp, open: 1, high: 9, low: 1, close, volume: 5, is_closed: true, missing_minutes: 0, ...change };
}

test("intervals are found by name, and a minute stands in for what is none", () => {
  assert.deepEqual(
    INTERVALS.map(({ name }) => intervalOf(name).name),
    INTERVALS.map(({ name }) => name),
  );
  assert.equal(intervalOf("2 fortnights"), MINUTE);
  assert.equal(intervalOf(null), MINUTE);
});

test("closed candles become bars and the running one is live", () => {
  const chart = applyCandles(EMPTY_CHART, [candle(1, 2), candle(2, 3, { is_closed: false })]);
  assert.deepEqual(
    chart.bars.map(({ close }) => close),
    [2],
  );
  assert.equal(chart.live.close, 3);
});

test("newer answers add to the bars and replace those that were corrected", () => {
  const before = applyCandles(EMPTY_CHART, [candle(1, 2), candle(2, 3)]);
  const { bars, live } = applyCandles(before, [candle(2, 4), candle(3, 5)]);
  assert.deepEqual(
    bars.map(({ close }) => close),
    [2, 4, 5],
  );
  assert.equal(live, null);
});

test("a bar knows how many of its minutes are missing", () => {
  const { bars } = applyCandles(EMPTY_CHART, [candle(1, 2, { missing_minutes: 7 })]);
  assert.equal(bars[0].missing, 7);
});

test("an answer that says nothing new leaves the bars as they are", () => {
  const before = applyCandles(EMPTY_CHART, [candle(1, 2)]);
  assert.equal(applyCandles(before, [candle(1, 2)]).bars, before.bars);
});

test("whoever points at it is told how much of the past there is", () => {
  assert.match(fillingTitle({ minutes: 12_000, of: 42_200 }), / 12,000 of 42,200 minutes so far\./);
  assert.equal(fillingTitle({ minutes: 5, of: 5 }), "");
  assert.equal(fillingTitle(null), "");
});

test("the past is told while it is fetched, and not once it is whole", () => {
  assert.equal(fillingWords({ minutes: 12_000, of: 42_200 }), "history 28 % fetched");
  assert.equal(fillingWords({ minutes: 5, of: 5 }), "");
  assert.equal(fillingWords(null), "");
});
