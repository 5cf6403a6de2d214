// The tape's figures: tiers of large trades, and what was bought and sold over a stated span.

import assert from "node:assert/strict";
import { test } from "node:test";

import { flowNote, flowOf, leastOf, spanText, tierOf, tiersOf } from "../../static/tape_figures.js";
import { trades } from "./support.mjs";

/** @import {Trade} from "../../static/types.js" */

/**
 * @param {number} count
 * @param {(at: number) => Partial<Trade>} change
 */
function tape(count, change) {
  return trades(...Array.from({ length: count }, (_, at) => 1_000 - at)).map((trade, at) => ({
    ...trade,
    ...change(at),
  }));
}

test("a trade above the 95th percentile is large, above the 99th very large", () => {
  const kept = tape(100, (at) => ({ quantity: at + 1 }));
  const tiers = tiersOf(kept);

  assert.deepEqual(tiers, { large: 95, huge: 99 });
  assert.deepEqual(
    [95, 96, 99, 100].map((quantity) => tierOf({ quantity }, tiers)),
    [0, 1, 1, 2],
  );
});

test("no trade is large while too few are known", () => {
  const few = tape(19, () => ({ quantity: 1 }));

  assert.equal(tierOf({ quantity: 1e9 }, tiersOf(few)), 0);
  assert.equal(tierOf({ quantity: 1e9 }, tiersOf(tape(99, () => ({ quantity: 1 })))), 1);
});

test("bought and sold are those of the span by the exchange's clock", () => {
  const kept = tape(5, (at) => ({
    time_ms: 100_000 - 10_000 * at,
    quantity: at + 1,
    aggressor: at % 2 === 0 ? "buyer" : "seller",
  }));
  const { bought, sold, buys, sells, part, coveredMs, missing } = flowOf(kept, 30_000, 105_000);

  assert.deepEqual([bought, sold, buys, sells], [4, 2, 2, 1]);
  assert.deepEqual([part, coveredMs, missing], [4 / 6, 30_000, 0]);
});

test("a span that the kept trades do not reach is said to be shorter", () => {
  const flow = flowOf(
    tape(3, (at) => ({ time_ms: 100_000 - 4_000 * at })),
    60_000,
    100_000,
  );

  assert.equal(flow.coveredMs, 8_000);
  assert.equal(flowNote(flow, 60_000), "last 8 s of 1 min");
  assert.equal(flowNote(flowOf([], 60_000, 5), 60_000), "last <1 s of 1 min");
});

test("trades that are missing in a span are counted, also those at its beginning", () => {
  const kept = [9, 7, 4, 1].map((id) => ({ ...trades(id)[0], time_ms: 10_000 * id }));
  const flow = flowOf(kept, 45_000, 90_000);

  assert.deepEqual([flow.buys, flow.missing], [2, 3]);
  assert.equal(flowNote(flow, 15_000), "last 15 s, 3 trades missing");
  assert.equal(flowOf([], 15_000, 0).part, null);
});

test("a least worth is typed as a number with an optional unit", () => {
  assert.deepEqual(["", " 500 ", "1,500", "2.5k", "1M", ".5"].map(leastOf), [0, 500, 1_500, 2_500, 1e6, 0.5]);
  assert.deepEqual(["a", "-1", "1e9", "1..2", "5 BTC"].map(leastOf), [null, null, null, null, null]);
});

test("spans are texts", () => {
  assert.deepEqual([15_000, 60_000, 900_000].map(spanText), ["15 s", "1 min", "15 min"]);
});
