// The chart's intervals: their names, the bars of a longer one, and the progress of the history.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  applyCandles,
  EMPTY_CHART,
  INTERVALS,
  intervalOf,
  MINUTE,
  progressText,
  progressTitle,
} from "../../static/intervals.js";
import { candle } from "./support.mjs";

/** @import {Candle} from "../../static/types.js" */

/**
 * @param {number} hour
 * @param {number} close
 * @param {Partial<Candle>} change
 */
function hourly(hour, close, change = {}) {
  return candle(`2024-08-09T0${hour}:00:00+00:00`, { close, high: 9, missing_minutes: 0, ...change });
}

test("an interval is found by its name, and an unknown name gives a minute", () => {
  assert.deepEqual(
    INTERVALS.map(({ name }) => intervalOf(name).name),
    INTERVALS.map(({ name }) => name),
  );
  assert.equal(intervalOf("2 fortnights"), MINUTE);
  assert.equal(intervalOf(null), MINUTE);
});

test("closed candles become bars and the running one is live", () => {
  const chart = applyCandles(EMPTY_CHART, [hourly(1, 2), hourly(2, 3, { is_closed: false })]);
  assert.deepEqual(
    chart.bars.map(({ close }) => close),
    [2],
  );
  assert.equal(chart.live?.close, 3);
});

test("a newer answer adds bars and replaces corrected ones", () => {
  const before = applyCandles(EMPTY_CHART, [hourly(1, 2), hourly(2, 3)]);
  const { bars, live } = applyCandles(before, [hourly(2, 4), hourly(3, 5)]);
  assert.deepEqual(
    bars.map(({ close }) => close),
    [2, 4, 5],
  );
  assert.equal(live, null);
});

test("a bar has the number of its missing minutes", () => {
  const { bars } = applyCandles(EMPTY_CHART, [hourly(1, 2, { missing_minutes: 7 })]);
  assert.equal(bars[0].missing, 7);
});

test("an answer with nothing new returns the same bars", () => {
  const before = applyCandles(EMPTY_CHART, [hourly(1, 2)]);
  assert.equal(applyCandles(before, [hourly(1, 2)]).bars, before.bars);
});

test("the progress of the history is shown until it is complete", () => {
  assert.equal(progressText({ minutes: 12_000, of: 42_200 }), "history 28 % loaded");
  assert.equal(progressText({ minutes: 5, of: 5 }), "");
  assert.equal(progressText(null), "");
});

test("the title of the progress counts minutes", () => {
  assert.match(progressTitle({ minutes: 12_000, of: 42_200 }), / 12,000 of 42,200 minutes so far\./);
  assert.equal(progressTitle({ minutes: 5, of: 5 }), "");
  assert.equal(progressTitle(null), "");
});
