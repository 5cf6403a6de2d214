// The ladder's groups: which are asked for, what a message shows, and what lies outside the known range.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  chosenMultiple,
  costTo,
  fittingMultiple,
  groupText,
  LEVELS,
  MULTIPLES,
  rowsFor,
  sourceOfGroups,
  sourceOfView,
  steppedChoice,
} from "../../static/panels/ladder/groups.js";

/** @type {[number, number, number, number, number][]} */
const ROWS = [
  [100.02, 2, 200.04, 0.5, 0],
  [100.04, 8, 800.32, 0, 0],
];
const WHOLE = { rows: ROWS, partial: null, is_whole: true };
/** @type {(fields?: object) => any} */
const message = (fields = {}) => ({
  fitting: [{ rows: 10, multiple: 20 }],
  window: { bid_floor: 90, ask_ceiling: null },
  ladder: { multiple: 2, step: 0.02, bids: WHOLE, asks: WHOLE, ...fields },
});

test("groups are 1, 2, 5 of each power of ten", () => {
  assert.deepEqual(MULTIPLES.slice(0, 6), [1, 2, 5, 10, 20, 50]);
  assert.equal(MULTIPLES.length, 16);
  assert.equal(MULTIPLES.at(-1), 100_000);
});

test("a choice is a group that exists", () => {
  assert.deepEqual(["", LEVELS, "10", "3", "010"].map(chosenMultiple), [0, 0, 10, 0, 0]);
});

test("a step leads from the levels to the coarsest groups and no further", () => {
  assert.equal(steppedChoice(0, 1), "1");
  assert.equal(steppedChoice(10, -1), "5");
  assert.equal(steppedChoice(1, -1), LEVELS);
  assert.equal(steppedChoice(0, -1), LEVELS);
  assert.equal(steppedChoice(100_000, 1), "100000");
});

test("as many rows are asked for as can be shown", () => {
  assert.deepEqual([4, 10, 11, 20, 500].map(rowsFor), [10, 10, 20, 20, 100]);
});

test("the server says which groups fit", () => {
  assert.deepEqual(
    [fittingMultiple(message(), 10), fittingMultiple(message(), 20), fittingMultiple(null, 10)],
    [20, 0, 0],
  );
});

test("a group's size is a price", () => {
  assert.equal(groupText(10, { tick_size: 0.01, price_decimals: 2 }), "0.10");
  assert.equal(groupText(100_000, { tick_size: 0.01, price_decimals: 2 }), "1,000");
  assert.equal(groupText(5, { tick_size: 0, price_decimals: 4 }), "0.0005");
});

test("behind the groups nothing is known, unless the whole side is", () => {
  const source = sourceOfGroups(message());
  assert.deepEqual(source?.unknownFrom, { bid: 2, ask: Infinity });
  const cut = sourceOfGroups(message({ bids: { ...WHOLE, is_whole: false } }));
  assert.deepEqual(cut?.unknownFrom, { bid: Infinity, ask: Infinity });
  assert.equal(sourceOfGroups(message({ bids: null })), null);
});

test("a view shows its levels", () => {
  /** @type {any} */
  const view = { bids: [[100, 5]], asks: [], window: { bid_floor: 100, ask_ceiling: null } };
  assert.deepEqual(sourceOfView(view).rows, { bid: [[100, 5, 500, 0, 0]], ask: [] });
  assert.deepEqual(sourceOfView(view).unknownFrom, { bid: 1, ask: Infinity });
  assert.deepEqual(sourceOfView(null).rows, { bid: [], ask: [] });
});

test("the cost up to a row is that of its levels, not of its price", () => {
  const cost = costTo(ROWS, 1, 100.02);
  assert.ok(cost);
  assert.equal(cost.quantity, 10);
  assert.ok(Math.abs(cost.average - 100.036) < 1e-9);
  assert.ok(Math.abs(cost.slippage_bps - ((100.036 - 100.02) / 100.02) * 1e4) < 1e-6);
  assert.equal(costTo(ROWS, 2, 100), null);
  assert.equal(costTo([], 0, 100), null);
});
