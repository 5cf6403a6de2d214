// Averages, VWAP and delta: exact on whole bars, and not known across a gap.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  cumulativeDelta,
  dayVwap,
  delta,
  exponentialAverage,
  Indicator,
  reachesDayStart,
  simpleAverage,
} from "../../static/indicators.js";

/** @import {Formula} from "../../static/indicators.js" */
/** @import {Bar} from "../../static/state.js" */

/**
 * @param {number} minute
 * @param {Partial<Bar>} change
 * @returns {Bar}
 */
function bar(minute, change = {}) {
  const prices = { open: 1, high: 9, low: 1, close: 1 };
  const volumes = { volume: 10, quoteVolume: 20, takerBuyVolume: 5 };
  return { time: 60 * minute, ...prices, ...volumes, missing: 0, source: "live", isReconciled: true, ...change };
}

/**
 * @param {Formula<any>} formula
 * @param {Bar[]} bars
 */
function values(formula, bars) {
  const indicator = new Indicator(formula);
  return bars.map((bar) => indicator.next(bar));
}

const closes = (/** @type {number[]} */ ...list) => list.map((close, minute) => bar(minute, { close }));

test("a moving average begins with its first whole window", () => {
  assert.deepEqual(values(simpleAverage(3, 60), closes(1, 2, 3, 4, 10)), [null, null, 2, 3, 17 / 3]);
  assert.deepEqual(values(exponentialAverage(3, 60), closes(1, 2, 3, 4, 10)), [null, null, 2, 3, 6.5]);
  assert.deepEqual(values(simpleAverage(3, 60), []), []);
});

test("an average is not known across a gap", () => {
  const bars = [bar(0), bar(1, { close: 3 }), bar(5, { close: 5 }), bar(6, { close: 7 })];

  assert.deepEqual(values(simpleAverage(2, 60), bars), [null, 2, null, 6]);
  assert.deepEqual(values(exponentialAverage(2, 60), bars), [null, 2, null, 6]);
  assert.deepEqual(values(simpleAverage(2, 0), bars), [null, 2, 4, 6]); // steps of months differ in length
});

test("VWAP is that of the trades since 00:00 UTC", () => {
  const bars = [
    bar(1439),
    bar(1440, { volume: 1, quoteVolume: 100 }),
    bar(1441, { volume: 0, quoteVolume: 0 }),
    bar(1442, { volume: 3, quoteVolume: 306 }),
  ];

  assert.deepEqual(values(dayVwap(60), bars), [null, 100, 100, 101.5]);
});

test("VWAP ends where trades are missing, and begins anew with the next day", () => {
  const bars = [bar(1440), bar(1442), bar(1443, { missing: 1 }), bar(2880), bar(2881, { missing: 2 }), bar(2882)];

  assert.deepEqual(values(dayVwap(60), bars), [2, null, null, 2, null, null]);
  assert.deepEqual(values(dayVwap(60), [bar(1440, { volume: 0, quoteVolume: 0 })]), [null]);
});

test("delta is what takers bought less what they sold", () => {
  assert.deepEqual(values(delta(), [bar(0, { takerBuyVolume: 7 }), bar(1, { takerBuyVolume: 0 })]), [4, -10]);
  assert.deepEqual(values(delta(), [bar(0, { missing: 1 })]), [null]);
});

test("CVD is the running sum of the deltas since 00:00 UTC", () => {
  const bought = (/** @type {number} */ minute, /** @type {number} */ sum) =>
    bar(minute, { takerBuyVolume: 5 + sum / 2 });
  const bars = [bought(1439, 2), bought(1440, -6), bought(1441, 2), bought(1445, 8), bought(2880, 4)];

  assert.deepEqual(values(cumulativeDelta(60), bars), [null, -6, -4, null, 4]);
  assert.deepEqual(values(cumulativeDelta(60), [bought(0, 4), bar(1, { missing: 3 }), bought(2, 2)]), [4, null, null]);
});

test("CVD of days runs on from day to day, and begins anew after a gap", () => {
  const days = [1, 2, 4, 5].map((day) => bar(1440 * day, { takerBuyVolume: 6 }));
  const torn = [bar(0, { takerBuyVolume: 6 }), bar(1440, { missing: 1 }), bar(2880, { takerBuyVolume: 6 })];

  assert.deepEqual(values(cumulativeDelta(86_400), days), [2, 4, 2, 4]);
  assert.deepEqual(values(cumulativeDelta(86_400), torn), [2, null, 2]);
});

test("the sums of a day need its bars from 00:00 UTC on", () => {
  assert.equal(reachesDayStart([bar(1439), bar(1500)]), true);
  assert.equal(reachesDayStart([bar(1440), bar(1500)]), true);
  assert.equal(reachesDayStart([bar(1441), bar(1500)]), false);
  assert.equal(reachesDayStart([]), true);
});

test("a running bar is looked at without being kept", () => {
  for (const formula of [simpleAverage(2, 60), exponentialAverage(2, 60), dayVwap(60), cumulativeDelta(60), delta()]) {
    const indicator = new Indicator(formula);
    const [first, second] = [bar(1440, { close: 3 }), bar(1441, { close: 5, takerBuyVolume: 9 })];
    indicator.next(first);
    const looks = [indicator.peek(bar(1441, { close: 99 })), indicator.peek(second), indicator.peek(second)];

    assert.equal(looks[1], looks[2]);
    assert.equal(indicator.next(second), looks[1]);
  }
});
