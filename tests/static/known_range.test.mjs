// What is said of the part of the book that is not known.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  atLeastWords,
  beyond,
  beyondWords,
  boundSides,
  isTopShort,
  shortWords,
  TOP_LEVELS,
} from "../../static/known_range.js";

const BTC = { price_decimals: 2 };

function levels(count) {
  return Array.from({ length: count }, (_, at) => [100 - at, 1]);
}

function picture(known = {}) {
  const { bids = TOP_LEVELS, asks = TOP_LEVELS, floor = null, ceiling = null, mid = 1000, exact = false } = known;
  return {
    last_update_id: 7,
    bids: levels(bids),
    asks: levels(asks),
    window: { bid_floor: floor, ask_ceiling: ceiling, bid_levels: bids, ask_levels: asks },
    metrics: { mid_price: mid, depth_10bps_exact: exact },
  };
}

test("what lies beyond begins after the last known level, and nowhere on a side that is full or wholly known", () => {
  assert.deepEqual(beyond(picture({ bids: 12, floor: 990 })), { bid: 12, ask: Infinity });
  assert.deepEqual(beyond(picture({ asks: 0, ceiling: 1010 })), { bid: Infinity, ask: 0 });
  assert.deepEqual(beyond(picture({ bids: 3 })), { bid: Infinity, ask: Infinity });
  assert.deepEqual(beyond(null), { bid: Infinity, ask: Infinity });
});

test("a hatched row says down or up to where its side is known", () => {
  assert.deepEqual(beyondWords(picture({ floor: 61631.5 }), BTC), {
    bid: "Known down to 61,631.50 only: levels below it may exist",
    ask: "",
  });
  assert.match(beyondWords(picture({ ceiling: 62010.1 }), BTC).ask, /^Known up to 62,010\.10 only: levels above/);
});

test("a side that is short says whether that is all there is", () => {
  assert.equal(shortWords(picture({ bids: 12, floor: 990 })), "only 12 bid levels known");
  assert.equal(shortWords(picture({ asks: 3 })), "whole ask side: 3");
  assert.equal(shortWords(picture({ bids: 12, floor: 990, asks: 3 })), "whole ask side: 3, only 12 bid levels known");
  assert.equal(shortWords(picture({ floor: 990, ceiling: 1010 })), "");
});

test("before there is a book nobody calls it empty", () => {
  assert.equal(shortWords({ ...picture({ bids: 0, asks: 0 }), last_update_id: 0 }), "");
});

test("the top is short where a side of fewer levels is not known to its end", () => {
  assert.equal(isTopShort(picture({ bids: 19, floor: 990 })), true);
  assert.equal(isTopShort(picture({ bids: 19 })), false);
  assert.equal(isTopShort(picture({ floor: 990 })), false);
});

test("a depth is a lower bound on the side whose known part ends inside the band, and only there", () => {
  assert.deepEqual(boundSides(picture({ floor: 999.5, ceiling: 1001 })), ["bid"]);
  assert.deepEqual(boundSides(picture({ floor: 999, ceiling: 1000.9 })), ["ask"]);
  assert.deepEqual(boundSides(picture({ floor: 999.5, ceiling: 1000.5 })), ["bid", "ask"]);
});

test("the server has the last word on what is exact", () => {
  assert.deepEqual(boundSides(picture({ floor: 999.5, exact: true })), []);
  assert.deepEqual(boundSides(picture({ floor: 900, ceiling: 1100 })), ["bid", "ask"]);
  assert.deepEqual(boundSides(picture({ floor: 999.5, mid: null })), []);
});

test("at least is said with how far the side is known", () => {
  const words = "At least: the bid side is known only down to 999.50, the ask side is known only up to 1,000.50";

  assert.equal(atLeastWords(picture({ floor: 999.5, ceiling: 1000.5 }), BTC), words);
  assert.equal(atLeastWords(picture({ floor: 999.5, ceiling: 1100 }), BTC), words.split(", the")[0]);
  assert.equal(atLeastWords(picture({ exact: true }), BTC), "");
});
