// Lists of trades: merging, the rows of the tape, sums.

import assert from "node:assert/strict";
import { test } from "node:test";

import { addTrades, lastTrade, TRADES_KEPT, tapeRows, tradeBalance } from "../../static/trade_list.js";
import { trades } from "./support.mjs";

/** @import {Trade} from "../../static/types.js" */

/** @param {{id: number}[]} list */
function ids(list) {
  return list.map(({ id }) => id);
}

test("trades of overlapping views merge by id, newest first, without duplicates", () => {
  assert.deepEqual(ids(addTrades(trades(5, 4, 3), trades(7, 6, 5, 4)).trades), [7, 6, 5, 4, 3]);
});

test("missing trades that arrive late are put in their place", () => {
  assert.deepEqual(ids(addTrades(trades(5, 2), trades(4, 3)).trades), [5, 4, 3, 2]);
});

test("only new trades are counted", () => {
  assert.equal(addTrades(trades(5, 4, 3), trades(7, 6, 5, 4)).added, 2);
  assert.equal(addTrades([], trades(2, 1)).added, 2);
  assert.equal(addTrades(trades(2, 1), trades(2, 1)).added, 0);
});

test("a merge with nothing new returns the same list", () => {
  const known = trades(5, 4);

  assert.equal(addTrades(known, trades(5, 4)).trades, known);
});

test("the list of trades is bounded and drops the oldest", () => {
  const { trades: many } = addTrades([], trades(...Array.from({ length: TRADES_KEPT + 50 }, (_, at) => at)));

  assert.equal(many.length, TRADES_KEPT);
  assert.equal(many[0].id, TRADES_KEPT + 49);
  assert.equal(addTrades(many, trades(3)).trades, many);
});

test("two trades to which the exchange gave one id are both kept, each once", () => {
  const [first] = trades(5);
  const second = { ...first, first_trade_id: first.first_trade_id + 3 };
  const { trades: merged } = addTrades([first], [second, first, ...trades(6)]);
  const rows = tapeRows(merged);

  assert.deepEqual(
    merged.map(({ id, first_trade_id: begin }) => [id, begin]),
    [
      [6, 60],
      [5, 53],
      [5, 50],
    ],
  );
  assert.equal(new Set(rows.map(({ key }) => key)).size, 3);
});

test("the tape has a row with the number of missing trades exactly where they are missing", () => {
  const rows = tapeRows(trades(10, 9, 5));

  assert.deepEqual(
    rows.map((row) => ("trade" in row ? row.trade.id : `${row.missing} missing`)),
    [10, 9, "3 missing", 5],
  );
});

test("the tape's rows are bounded, gaps included", () => {
  const sparse = trades(...Array.from({ length: 50 }, (_, at) => 1000 - at * 2));

  assert.equal(tapeRows(sparse, 20).length, 20);
});

test("the last price has the direction from the last different price", () => {
  const at = (/** @type {number[]} */ ...prices) => prices.map((price) => ({ price }));

  assert.deepEqual(lastTrade(at(5, 5, 4)), { price: 5, direction: 1 });
  assert.deepEqual(lastTrade(at(3, 4)), { price: 3, direction: -1 });
  assert.deepEqual(lastTrade(at(3)), { price: 3, direction: 0 });
  assert.equal(lastTrade([]), null);
});

test("the balance compares what takers bought with what they sold", () => {
  /** @type {Pick<Trade, "aggressor" | "quantity">} */
  const sold = { quantity: 3, aggressor: "seller" };

  assert.deepEqual(tradeBalance([...trades(2), sold]), { bought: 1, sold: 3, part: 0.25 });
  assert.equal(tradeBalance([]).part, null);
});

test("a least worth leaves out trades, and never a row of missing ones", () => {
  const list = trades(9, 8, 5, 4).map((trade, at) => ({ ...trade, price: 10, quantity: at }));
  const rows = tapeRows(list, TRADES_KEPT, 20);

  assert.deepEqual(
    rows.map((row) => ("trade" in row ? row.trade.id : -row.missing)),
    [-2, 5, 4],
  );
});
