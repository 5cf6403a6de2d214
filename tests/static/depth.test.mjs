// The depth chart's curves.

import assert from "node:assert/strict";
import { test } from "node:test";

import { curvesOf, depthAt, stepsOf } from "../../static/panels/depth/curve.js";

const BIDS = {
  rows: [
    [100, 5, 500, 0, 0],
    [99, 3, 297, 0, 0],
  ],
  partial: null,
  is_whole: true,
};
const ASKS = {
  rows: [
    [101, 2, 202, 0, 0],
    [103, 4, 412, 0, 0],
  ],
  partial: null,
  is_whole: true,
};
/** @type {(fields?: object) => any} */
const message = (fields = {}) => ({ ladder: { multiple: 1, step: 1, bids: BIDS, asks: ASKS, ...fields } });

test("quantities add up from the best price outwards", () => {
  const curves = curvesOf(message());
  assert.deepEqual(curves?.bids, [
    { price: 100, base: 5, quote: 500 },
    { price: 99, base: 8, quote: 797 },
  ]);
  assert.deepEqual([curves?.low, curves?.high, curves?.most, curves?.isWhole], [99, 103, 8, true]);
});

test("there are no curves without two sides", () => {
  for (const one of [null, message({ bids: null }), message({ asks: { ...ASKS, rows: [] } })])
    assert.equal(curvesOf(one), null);
});

test("curves that go on are not whole", () => {
  for (const fields of [{ partial: [98, 1, 98, 0, 0] }, { is_whole: false }])
    assert.equal(curvesOf(message({ bids: { ...BIDS, ...fields } }))?.isWhole, false);
});

test("a curve is steps inside the panel", () => {
  const curves = curvesOf(message());
  assert.ok(curves);
  assert.deepEqual(stepsOf(curves.bids, curves, 400, 80), [
    [100, 80],
    [100, 30],
    [0, 30],
    [0, 0],
  ]);
  assert.deepEqual(stepsOf(curves.asks, curves, 400, 80), [
    [200, 80],
    [200, 60],
    [400, 60],
    [400, 20],
  ]);
});

test("a place reads what rests up to it", () => {
  const curves = curvesOf(message());
  assert.ok(curves);
  const read = (/** @type {number} */ at) => depthAt(curves, at)?.depth.base ?? null;
  assert.deepEqual([0, 0.2, 0.3, 0.6, 1].map(read), [8, 5, null, 2, 6]);
  assert.equal(depthAt(curves, 0)?.side, "bid");
});
