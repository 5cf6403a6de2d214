// The tape: newest trade on top, a row that says so wherever trades are missing, and the balance of what it holds.
// Rows move to the top and are refilled, so a burst of trades costs only the trades that are new.

import { attribute, element, slide, write } from "../dom.js";
import { counted, fixed, quantityColumn, utcTime } from "../format.js";
import { percentile } from "../scale.js";
import { tapeRows, tradeBalance, TRADES_MAX } from "../state.js";

const LARGE_PART = 0.95; // trades above this percentile of the kept ones stand out
const WORDS = { buyer: "Buy", seller: "Sell" };
const ARROWS = { buyer: "\u25b2", seller: "\u25bc" };
const SIDES = { buyer: "bid", seller: "ask" };

/** Paints into `section`. */
export function createTrades(section) {
  const body = section.querySelector(".trades-table tbody");
  const balance = {
    bought: section.querySelector(".balance-bought"),
    sold: section.querySelector(".balance-sold"),
    box: section.querySelector(".balance"),
    track: section.querySelector(".balance .pressure-bid"),
  };
  let painted = { trades: null, keys: [], context: "", sizeText: null };

  return {
    paint({ picture, trades, instrument }) {
      const context = picture === null ? "" : `${picture.symbol} ${picture.instance}`;
      if (painted.trades === trades && painted.context === context) return;
      const entries = tapeRows(trades);
      const same = context === painted.context && painted.keys.length > 0;
      const fresh = same ? added(painted.keys, entries) : entries.length;
      // One unit for the whole column, kept until every row is written anew.
      const sizeText = fresh < entries.length ? painted.sizeText : columnOf(trades, instrument);
      const style = { instrument, sizeText, large: largeFrom(trades) };
      for (let at = fresh - 1; at >= 0; at -= 1) prepend(body, entries[at], style);
      while (body.childElementCount > entries.length) body.lastElementChild.remove();
      paintBalance(balance, trades, instrument);
      painted = { trades, keys: entries.map(({ key }) => key), context, sizeText };
    },
  };
}

// How many entries came on top of the painted ones; all of them when the rest does not match any more.
function added(keys, entries) {
  const at = entries.findIndex(({ key }) => key === keys[0]);
  if (at < 0) return entries.length;
  const same = entries.slice(at).every(({ key }, below) => key === keys[below]);
  return same ? at : entries.length;
}

function columnOf(trades, instrument) {
  return quantityColumn(Math.max(0, ...trades.map(({ quantity }) => quantity)), instrument?.quantity_decimals ?? 0);
}

function largeFrom(trades) {
  return trades.length < 20
    ? Infinity
    : percentile(
        trades.map(({ quantity }) => quantity),
        LARGE_PART,
      );
}

function prepend(body, entry, style) {
  const row = body.childElementCount < TRADES_MAX ? createRow() : body.lastElementChild;
  if (entry.trade === undefined) fillGap(row, entry.missing);
  else fillTrade(row, entry.trade, style);
  body.prepend(row);
}

function createRow() {
  const cells = ["time", "price", "size", "side"].map((name) => element("td", { role: "cell", class: name }));
  return element("tr", { role: "row", class: "trade" }, ...cells);
}

function fillTrade(row, trade, { instrument, sizeText, large }) {
  const [time, price, size, side] = row.cells;
  attribute(row, "data-gap", null);
  attribute(row, "data-trade-id", trade.id);
  attribute(row, "data-price", trade.price);
  attribute(row, "data-quantity", trade.quantity);
  attribute(row, "data-side", SIDES[trade.aggressor]);
  attribute(row, "data-large", trade.quantity > large);
  attribute(row, "title", `${utcTime(trade.time_ms, true)} UTC, trade ${trade.id}`);
  write(time, utcTime(trade.time_ms));
  write(price, fixed(trade.price, instrument.price_decimals));
  write(size, sizeText(trade.quantity));
  write(side, `${ARROWS[trade.aggressor]} ${WORDS[trade.aggressor]}`);
}

function fillGap(row, missing) {
  for (const name of ["data-trade-id", "data-price", "data-quantity", "data-side", "data-large", "title"]) {
    row.removeAttribute(name);
  }
  attribute(row, "data-gap", missing);
  for (const cell of row.cells) write(cell, "");
  write(row.cells[0], `${counted(missing, "trade", "trades")} not seen here`);
}

function paintBalance(nodes, trades, instrument) {
  const { bought, sold, part } = tradeBalance(trades);
  const text = quantityColumn(Math.max(bought, sold), Math.min(4, instrument?.quantity_decimals ?? 0));
  write(nodes.bought, part === null ? "" : `Bought ${text(bought)}`);
  write(nodes.sold, part === null ? "" : `${text(sold)} sold \u00b7 last ${trades.length}`);
  attribute(nodes.box, "data-known", part === null ? "no" : null);
  slide(nodes.track, part ?? 0);
}
