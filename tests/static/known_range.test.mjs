// Texts for the part of the book that is not known.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  firstUnknown,
  isTopIncomplete,
  lowerBoundSides,
  lowerBoundText,
  rangeEndText,
  shortBook,
  TOP_LEVELS,
} from "../../static/known_range.js";
import { BTC, levels, METRICS, view } from "./support.mjs";

/**
 * Return a view of so many levels, known between these prices.
 * @param {{bids?: number, asks?: number, floor?: number, ceiling?: number, mid?: number | null, isExact?: boolean}} known
 */
function ranged(known) {
  const { bids = TOP_LEVELS, asks = TOP_LEVELS, floor = null, ceiling = null, mid = 1000, isExact = false } = known;
  return view({
    bids: levels(bids),
    asks: levels(asks),
    window: { bid_floor: floor, ask_ceiling: ceiling, bid_levels: bids, ask_levels: asks },
    metrics: { ...METRICS, mid_price: mid, depth_10bps_exact: isExact },
  });
}

test("unknown levels begin after the last known one, and a side that is full or wholly known has none", () => {
  assert.deepEqual(firstUnknown(ranged({ bids: 12, floor: 990 })), { bid: 12, ask: Infinity });
  assert.deepEqual(firstUnknown(ranged({ asks: 0, ceiling: 1010 })), { bid: Infinity, ask: 0 });
  assert.deepEqual(firstUnknown(ranged({ bids: 3 })), { bid: Infinity, ask: Infinity });
  assert.deepEqual(firstUnknown(null), { bid: Infinity, ask: Infinity });
});

test("a hatched row names the price to which its side is known", () => {
  assert.deepEqual(rangeEndText(ranged({ floor: 61631.5 }), BTC), {
    bid: "Known down to 61,631.50 only. Lower levels may exist.",
    ask: "",
  });
  assert.match(rangeEndText(ranged({ ceiling: 62010.1 }), BTC).ask, /^Known up to 62,010\.10 only\. Higher levels/);
});

test("a short side says whether it is incomplete or really has no more levels", () => {
  assert.deepEqual(shortBook(ranged({ bids: 12, floor: 990 })), {
    text: "only 12 bid levels known",
    isIncomplete: true,
  });
  assert.deepEqual(shortBook(ranged({ asks: 3 })), { text: "ask side has 3 levels", isIncomplete: false });
  assert.deepEqual(shortBook(ranged({ bids: 12, floor: 990, asks: 3 })), {
    text: "ask side has 3 levels, only 12 bid levels known",
    isIncomplete: true,
  });
  assert.deepEqual(shortBook(ranged({ floor: 990, ceiling: 1010 })), { text: "", isIncomplete: false });
});

test("a book that does not exist yet is not called short", () => {
  assert.equal(shortBook({ ...ranged({ bids: 0, asks: 0 }), last_update_id: 0 }).text, "");
});

test("the top is incomplete where a side has fewer levels and is not known to its end", () => {
  assert.equal(isTopIncomplete(ranged({ bids: 19, floor: 990 })), true);
  assert.equal(isTopIncomplete(ranged({ bids: 19 })), false);
  assert.equal(isTopIncomplete(ranged({ floor: 990 })), false);
});

test("a depth is a lower bound on the side whose known range ends inside the band", () => {
  assert.deepEqual(lowerBoundSides(ranged({ floor: 999.5, ceiling: 1001 })), ["bid"]);
  assert.deepEqual(lowerBoundSides(ranged({ floor: 999, ceiling: 1000.9 })), ["ask"]);
  assert.deepEqual(lowerBoundSides(ranged({ floor: 999.5, ceiling: 1000.5 })), ["bid", "ask"]);
});

test("the server decides whether a depth is exact", () => {
  assert.deepEqual(lowerBoundSides(ranged({ floor: 999.5, isExact: true })), []);
  assert.deepEqual(lowerBoundSides(ranged({ floor: 900, ceiling: 1100 })), ["bid", "ask"]);
  assert.deepEqual(lowerBoundSides(ranged({ floor: 999.5, mid: null })), []);
});

test("a lower bound names how far each side is known", () => {
  const text = "At least: the bid side is known only down to 999.50, the ask side is known only up to 1,000.50";

  assert.equal(lowerBoundText(ranged({ floor: 999.5, ceiling: 1000.5 }), BTC), text);
  assert.equal(lowerBoundText(ranged({ floor: 999.5, ceiling: 1100 }), BTC), text.split(", the")[0]);
  assert.equal(lowerBoundText(ranged({ isExact: true }), BTC), "");
});
