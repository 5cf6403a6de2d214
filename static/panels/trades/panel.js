// The trade tape: newest trade on top, a row wherever trades are missing, and the balance of buys and sells in it.
// Rows move to the top and are refilled, so a burst of trades costs only the trades that are new.

import { element, find, setAttr, setFill, setText } from "../../dom.js";
import { counted, fixed, quantityColumn, utcTime } from "../../format.js";
import { percentile } from "../../scale.js";
import { TRADES_KEPT, TRADES_RECENT, tapeRows, tradeBalance } from "../../trade_list.js";

/** @import {Frame, Panel, PanelContext} from "../../panel_frame.js" */
/** @import {TapeRow} from "../../trade_list.js" */
/** @import {Instrument, Trade} from "../../types.js" */

const LARGE_PART = 0.95; // trades above this percentile of the kept ones stand out
const LARGE_MIN = 20; // trades that are needed for that percentile
const TAKERS = { buyer: "Buy", seller: "Sell" };
const ARROWS = { buyer: "\u25b2", seller: "\u25bc" };
const SIDES = { buyer: "bid", seller: "ask" };
const ROWS_MORE = 200; // rows at first, and how many are added when the user has scrolled close to their end
const NEAR_END_PX = 400;
const TRADE_ATTRIBUTES = ["data-trade-id", "data-price", "data-quantity", "data-side", "data-large", "title"];

/** How rows are written.
 * @typedef {{instrument: Instrument | null, sizeText: (quantity: number) => string, large: number}} Style
 */

/** @typedef {ReturnType<typeof balanceNodes>} BalanceNodes */

/**
 * Create the panel.
 * @param {Frame} frame
 * @param {PanelContext} context
 * @returns {Panel}
 */
export function mount(frame, { repaint: onScroll }) {
  fill(frame);
  const { section } = frame;
  const scrolled = find(section, ".trades-body");
  /** @type {HTMLTableSectionElement} */
  const body = find(section, ".trades-table tbody");
  const end = find(section, ".trades-end");
  const balance = balanceNodes(section);
  let wanted = ROWS_MORE;
  /** @type {{trades: Trade[] | null, keys: string[], context: string, sizeText: Style["sizeText"], wanted: number}} */
  let painted = { trades: null, keys: [], context: "", sizeText: String, wanted };

  scrolled.addEventListener(
    "scroll",
    () => {
      const { scrollTop, scrollHeight, clientHeight } = scrolled;
      const isNearEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
      if (scrollTop === 0) wanted = ROWS_MORE;
      else if (isNearEnd && body.childElementCount >= wanted && wanted < TRADES_KEPT) wanted += ROWS_MORE;
      if (wanted !== painted.wanted) onScroll();
    },
    { passive: true },
  );

  return {
    paint({ view, trades, instrument }) {
      const context = view === null ? "" : `${view.symbol} ${view.instance}`;
      if (painted.trades === trades && painted.context === context && painted.wanted === wanted) return;
      const recent = trades.slice(0, TRADES_RECENT);
      const rows = tapeRows(trades, wanted);
      const fresh = context === painted.context ? added(painted.keys, rows) : rows.length;
      // One unit for the whole column, kept until every row is rewritten.
      const sizeText = fresh < rows.length ? painted.sizeText : columnOf(trades, instrument);
      const style = { instrument, sizeText, large: largeFrom(recent) };
      prependRows(body, rows.slice(0, fresh), wanted, style);
      appendRows(body, rows.slice(body.childElementCount), style);
      while (body.childElementCount > rows.length) body.lastElementChild?.remove();
      setText(end, endText(trades.length, rows));
      paintBalance(balance, recent, instrument);
      painted = { trades, keys: rows.map(({ key }) => key), context, sizeText, wanted };
    },
  };
}

/**
 * Fill the panel.
 * @param {Frame} frame
 */
function fill({ head, body, heading, streamAge }) {
  head.append(element("p", { class: "panel-note" }, "UTC"), streamAge("trade", "trades-age"));
  const names = ["Time", "Price", "Size", "Taker"];
  const columns = names.map((name) => element("th", { role: "columnheader", scope: "col" }, name));
  const table = element(
    "table",
    { class: "trades-table values of-trade", role: "table", "data-testid": "trades", "aria-labelledby": heading.id },
    element("thead", { role: "rowgroup" }, element("tr", { role: "row", class: "trade trade-head" }, ...columns)),
    element("tbody", { role: "rowgroup" }),
  );
  body.append(
    element(
      "div",
      { class: "balance values of-trade", "data-testid": "trade-balance" },
      element(
        "p",
        { class: "balance-text" },
        element("span", { class: "balance-bought" }),
        element("span", { class: "balance-sold" }),
      ),
      element("div", { class: "pressure-track", "aria-hidden": "true" }, element("div", { class: "pressure-bid" })),
    ),
    element(
      "div",
      { class: "trades-body", tabindex: 0, role: "region", "aria-labelledby": heading.id },
      table,
      element("p", { class: "trades-end", "data-testid": "trades-end" }),
    ),
  );
}

/**
 * Return what follows the last row; "" where further trades follow as soon as the user scrolls there.
 * @param {number} kept
 * @param {TapeRow[]} rows
 */
function endText(kept, rows) {
  const isAll = rows.filter((row) => "trade" in row).length === kept;
  return kept < TRADES_KEPT || !isAll
    ? ""
    : `The newest ${fixed(TRADES_KEPT, 0)} trades are kept; earlier ones are not`;
}

/** @param {HTMLElement} section */
function balanceNodes(section) {
  return {
    bought: find(section, ".balance-bought"),
    sold: find(section, ".balance-sold"),
    box: find(section, ".balance"),
    track: find(section, ".balance .pressure-bid"),
  };
}

/**
 * Return how many rows were added on top of the painted ones; all of them when the rest does not match any more.
 * @param {string[]} keys
 * @param {TapeRow[]} rows
 */
function added(keys, rows) {
  const at = keys.length === 0 ? -1 : rows.findIndex(({ key }) => key === keys[0]);
  if (at < 0) return rows.length;
  const isSame = rows.slice(at, at + keys.length).every(({ key }, below) => key === keys[below]);
  return isSame ? at : rows.length;
}

/**
 * @param {Trade[]} trades
 * @param {Instrument | null} instrument
 */
function columnOf(trades, instrument) {
  return quantityColumn(Math.max(0, ...trades.map(({ quantity }) => quantity)), instrument?.quantity_decimals ?? 0);
}

/** @param {Trade[]} trades */
function largeFrom(trades) {
  const quantities = trades.map(({ quantity }) => quantity);
  return trades.length < LARGE_MIN ? Infinity : percentile(quantities, LARGE_PART);
}

/**
 * @param {HTMLTableSectionElement} body
 * @param {TapeRow[]} rows
 * @param {number} most
 * @param {Style} style
 */
function prependRows(body, rows, most, style) {
  for (const row of [...rows].reverse()) {
    const node = body.rows.length < most ? createRow() : body.rows[body.rows.length - 1];
    body.prepend(filled(node, row, style));
  }
}

/**
 * @param {HTMLTableSectionElement} body
 * @param {TapeRow[]} rows
 * @param {Style} style
 */
function appendRows(body, rows, style) {
  body.append(...rows.map((row) => filled(createRow(), row, style)));
}

/**
 * @param {HTMLTableRowElement} node
 * @param {TapeRow} row
 * @param {Style} style
 */
function filled(node, row, style) {
  if ("trade" in row) fillTrade(node, row.trade, style);
  else fillGap(node, row.missing);
  return node;
}

function createRow() {
  const cells = ["time", "price", "size", "side"].map((name) => element("td", { role: "cell", class: name }));
  return element("tr", { role: "row", class: "trade" }, ...cells);
}

/**
 * @param {HTMLTableRowElement} row
 * @param {Trade} trade
 * @param {Style} style
 */
function fillTrade(row, trade, { instrument, sizeText, large }) {
  const [time, price, size, side] = row.cells;
  setAttr(row, "data-gap", null);
  setAttr(row, "data-trade-id", trade.id);
  setAttr(row, "data-price", trade.price);
  setAttr(row, "data-quantity", trade.quantity);
  setAttr(row, "data-side", SIDES[trade.aggressor]);
  setAttr(row, "data-large", trade.quantity > large);
  setAttr(row, "title", `${utcTime(trade.time_ms, true)} UTC, trade ${trade.id}`);
  setText(time, utcTime(trade.time_ms));
  setText(price, fixed(trade.price, instrument?.price_decimals ?? 0));
  setText(size, sizeText(trade.quantity));
  setText(side, `${ARROWS[trade.aggressor]} ${TAKERS[trade.aggressor]}`);
}

/**
 * @param {HTMLTableRowElement} row
 * @param {number} missing
 */
function fillGap(row, missing) {
  for (const name of TRADE_ATTRIBUTES) setAttr(row, name, null);
  setAttr(row, "data-gap", missing);
  for (const cell of row.cells) setText(cell, "");
  setText(row.cells[0], `${counted(missing, "trade", "trades")} missing`);
}

/**
 * @param {BalanceNodes} nodes
 * @param {Trade[]} trades
 * @param {Instrument | null} instrument
 */
function paintBalance(nodes, trades, instrument) {
  const { bought, sold, part } = tradeBalance(trades);
  const text = quantityColumn(Math.max(bought, sold), Math.min(4, instrument?.quantity_decimals ?? 0));
  setText(nodes.bought, part === null ? "" : `Bought ${text(bought)}`);
  setText(
    nodes.sold,
    part === null ? "" : `${text(sold)} sold \u00b7 last ${counted(trades.length, "trade", "trades")}`,
  );
  setAttr(nodes.box, "data-known", part === null ? "no" : null);
  setFill(nodes.track, part ?? 0);
}
