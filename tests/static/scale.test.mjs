// Lengths, rows and lines. The asks of the tests are 100.02 x 2, 100.03 x 4, 100.05 x 4.

import assert from "node:assert/strict";
import { test } from "node:test";

import { cumulative, fitRows, lineRuns, percentile, share, withGaps } from "../../static/scale.js";

/** @import {Level} from "../../static/types.js" */

/** @type {Level[]} */
const ASKS = [
  [100.02, 2],
  [100.03, 4],
  [100.05, 4],
];
const ROWS = { most: 20, fewest: 4, low: 16, high: 24 };

test("totals run from the best level outwards", () => {
  assert.deepEqual(cumulative(ASKS), [2, 6, 10]);
});

test("a share is always between 0 and 1", () => {
  assert.deepEqual([share(5, 10), share(20, 10), share(1, 0), share(-1, 10)], [0.5, 1, 0, 0]);
});

test("a percentile is one of the values", () => {
  assert.equal(percentile([5, 1, 3, 2, 4], 0.8), 4);
  assert.equal(percentile([], 0.95), 0);
});

test("all twenty levels are shown while their rows stay readable", () => {
  assert.deepEqual(fitRows(680, ROWS), { count: 20, rowHeight: 17 });
  assert.deepEqual(fitRows(2000, ROWS), { count: 20, rowHeight: 24 });
});

test("a low panel shows fewer levels, but at least four", () => {
  assert.deepEqual(fitRows(330, ROWS), { count: 10, rowHeight: 16 });
  assert.deepEqual(fitRows(20, ROWS), { count: 4, rowHeight: 16 });
});

test("missing minutes become empty slots", () => {
  const first = { time: 60, open: 1 };
  const second = { time: 240, open: 2 };

  assert.deepEqual(withGaps([first, second], 60, 100), [first, { time: 120 }, { time: 180 }, second]);
});

test("a gap of days drops old bars instead of growing the list", () => {
  const newest = { time: 60 * 10_000, open: 2 };
  const slots = withGaps([{ time: 0, open: 1 }, newest], 60, 500);

  assert.equal(slots.length, 500);
  assert.equal(slots.at(-1), newest);
});

test("a sparkline breaks where a value is missing", () => {
  const points = [
    { at: 0, value: 1 },
    { at: 0.5, value: null },
    { at: 0.75, value: 2 },
    { at: 1, value: 3 },
  ];

  assert.deepEqual(lineRuns(points, 100, 12), [
    [[0, 11]],
    [
      [75, 6],
      [100, 1],
    ],
  ]);
  assert.deepEqual(lineRuns([{ at: 0, value: null }], 100, 12), []);
});

test("a sparkline of one value runs through the middle", () => {
  assert.deepEqual(
    lineRuns(
      [
        { at: 0, value: 5 },
        { at: 1, value: 5 },
      ],
      10,
      12,
    ),
    [
      [
        [0, 6],
        [10, 6],
      ],
    ],
  );
});
