// The trade tape: newest trade on top, a row wherever trades are missing, large trades marked, small ones left out if
// the user wants it, and what was bought and sold over a span. Rows move to the top and are refilled, so a burst of
// trades costs only the trades that are new.

import { element, find, setAttr, setFill, setText } from "../../dom.js";
import { counted, figure, fixed, quantityColumn, UNKNOWN, utcTime } from "../../format.js";
import { flowNote, flowOf, SPAN_MS, SPANS_MS, spanText, tierOf, tiersOf } from "../../tape_figures.js";
import { TRADES_KEPT, tapeRows, worth } from "../../trade_list.js";
import { createTools } from "./tools.js";

/** @import {Frame, Panel, PanelContext} from "../../panel_frame.js" */
/** @import {Flow, Tiers} from "../../tape_figures.js" */
/** @import {TapeRow} from "../../trade_list.js" */
/** @import {Instrument, Trade} from "../../types.js" */

const TAKERS = { buyer: "Buy", seller: "Sell" };
const ARROWS = { buyer: "\u25b2", seller: "\u25bc" };
const SIDES = { buyer: "bid", seller: "ask" };
const ROWS_MORE = 200; // rows at first, and how many are added when the user has scrolled close to their end
const NEAR_END_PX = 400;
const TRADE_ATTRIBUTES = ["data-trade-id", "data-price", "data-quantity", "data-side", "data-large", "title"];
const TIER_WORDS = ["", " (large)", " (very large)"];

/** How rows are written.
 * @typedef {{instrument: Instrument | null, sizeText: (quantity: number) => string, tiers: Tiers}} Style
 */

/** @typedef {ReturnType<typeof balanceNodes>} BalanceNodes */

/**
 * Create the panel.
 * @param {Frame} frame
 * @param {PanelContext} context
 * @returns {Panel}
 */
export function mount(frame, { repaint, settings }) {
  fill(frame);
  const { section } = frame;
  const tools = createTools(find(section, ".tape-tools"), settings);
  const scrolled = find(section, ".trades-body");
  /** @type {HTMLTableSectionElement} */
  const body = find(section, ".trades-table tbody");
  const end = find(section, ".trades-end");
  const balance = balanceNodes(section);
  let wanted = ROWS_MORE;
  /** @type {{trades: Trade[] | null, keys: string[], context: string, sizeText: Style["sizeText"], wanted: number}} */
  let painted = { trades: null, keys: [], context: "", sizeText: String, wanted };
  let flowKey = "";

  scrolled.addEventListener(
    "scroll",
    () => {
      const { scrollTop, scrollHeight, clientHeight } = scrolled;
      const isNearEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
      if (scrollTop === 0) wanted = ROWS_MORE;
      else if (isNearEnd && body.childElementCount >= wanted && wanted < TRADES_KEPT) wanted += ROWS_MORE;
      if (wanted !== painted.wanted) repaint();
    },
    { passive: true },
  );

  /**
   * @param {Trade[]} trades newest first
   * @param {number} nowMs by the exchange's clock
   * @param {Instrument | null} instrument
   */
  function paintFlow(trades, nowMs, instrument) {
    const spanMs = spanOf(settings.get("tape.span"));
    const key = `${trades[0]?.id}/${trades.length} ${Math.floor(nowMs / 1000)} ${spanMs}`;
    if (key === flowKey) return;
    flowKey = key;
    paintBalance(balance, flowOf(trades, spanMs, nowMs), spanMs, instrument);
  }

  return {
    paint({ view, trades, instrument }) {
      tools.paint(instrument);
      const { least } = tools;
      paintFlow(trades, view?.event_time_ms ?? 0, instrument);
      const context = view === null ? "" : `${view.symbol} ${view.instance} ${least}`;
      if (painted.trades === trades && painted.context === context && painted.wanted === wanted) return;
      const rows = tapeRows(trades, wanted, least);
      const fresh = context === painted.context ? added(painted.keys, rows) : rows.length;
      // One unit for the whole column, kept until every row is rewritten.
      const sizeText = fresh < rows.length ? painted.sizeText : columnOf(trades, instrument);
      const style = { instrument, sizeText, tiers: tiersOf(trades) };
      prependRows(body, rows.slice(0, fresh), wanted, style);
      appendRows(body, rows.slice(body.childElementCount), style);
      while (body.childElementCount > rows.length) body.lastElementChild?.remove();
      tools.paintCount(
        least > 0 ? trades.filter((trade) => worth(trade) >= least).length : trades.length,
        trades.length,
      );
      setText(end, endText(trades.length, rows, least));
      painted = { trades, keys: rows.map(({ key }) => key), context, sizeText, wanted };
    },
  };
}

/** @param {string} text */
function spanOf(text) {
  return SPANS_MS.find((spanMs) => String(spanMs / 1000) === text) ?? SPAN_MS;
}

/**
 * Fill the panel.
 * @param {Frame} frame
 */
function fill({ head, body, heading, streamAge }) {
  head.append(element("p", { class: "panel-note" }, "UTC"), streamAge("trade", "trades-age"));
  const names = ["Time", "Price", "Size", "Value", "Taker"];
  const columns = names.map((name) =>
    element("th", { role: "columnheader", scope: "col", class: name.toLowerCase() }, name),
  );
  const table = element(
    "table",
    { class: "trades-table values of-trade", role: "table", "data-testid": "trades", "aria-labelledby": heading.id },
    element("thead", { role: "rowgroup" }, element("tr", { role: "row", class: "trade trade-head" }, ...columns)),
    element("tbody", { role: "rowgroup" }),
  );
  body.append(
    element("div", { class: "tape-tools" }),
    element(
      "div",
      { class: "balance values of-trade", "data-testid": "trade-balance" },
      element(
        "p",
        { class: "balance-text" },
        element("span", { class: "balance-bought" }, element("span"), element("span", { class: "balance-count" })),
        element("span", { class: "balance-span" }),
        element("span", { class: "balance-sold" }, element("span"), element("span", { class: "balance-count" })),
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
 * @param {number} least
 */
function endText(kept, rows, least) {
  if (least > 0 && rows.length === 0) return "None of the kept trades is worth so much";
  const isAll = rows.filter((row) => "trade" in row).length === kept;
  return kept < TRADES_KEPT || !isAll
    ? ""
    : `The newest ${fixed(TRADES_KEPT, 0)} trades are kept; earlier ones are not`;
}

/** @param {HTMLElement} section */
function balanceNodes(section) {
  return {
    bought: find(section, ".balance-bought > span"),
    buys: find(section, ".balance-bought > .balance-count"),
    sells: find(section, ".balance-sold > .balance-count"),
    span: find(section, ".balance-span"),
    sold: find(section, ".balance-sold > span"),
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
  const cells = ["time", "price", "size", "value", "side"].map((name) => element("td", { role: "cell", class: name }));
  return element("tr", { role: "row", class: "trade" }, ...cells);
}

/**
 * @param {HTMLTableRowElement} row
 * @param {Trade} trade
 * @param {Style} style
 */
function fillTrade(row, trade, { instrument, sizeText, tiers }) {
  const [time, price, size, value, side] = row.cells;
  const tier = tierOf(trade, tiers);
  setAttr(row, "data-gap", null);
  setAttr(row, "data-trade-id", trade.id);
  setAttr(row, "data-price", trade.price);
  setAttr(row, "data-quantity", trade.quantity);
  setAttr(row, "data-side", SIDES[trade.aggressor]);
  setAttr(row, "data-large", tier > 0 ? tier : null);
  setAttr(row, "title", `${utcTime(trade.time_ms, true)} UTC, trade ${trade.id}${TIER_WORDS[tier]}`);
  setText(time, utcTime(trade.time_ms));
  setText(price, fixed(trade.price, instrument?.price_decimals ?? 0));
  setText(size, sizeText(trade.quantity));
  setText(value, valueText(worth(trade)));
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
 * Format what a trade is worth: "950", "12.3K", "1.20M".
 * @param {number} value in the quote asset
 */
function valueText(value) {
  if (value >= 1e6) return `${fixed(value / 1e6, 2)}M`;
  if (value >= 1e4) return `${fixed(value / 1e3, 1)}K`;
  return fixed(value, value < 10 ? 2 : 0);
}

/**
 * @param {BalanceNodes} nodes
 * @param {Flow} flow
 * @param {number} spanMs
 * @param {Instrument | null} instrument
 */
function paintBalance(nodes, flow, spanMs, instrument) {
  const { bought, sold, buys, sells, part } = flow;
  const decimals = instrument?.quantity_decimals ?? 0;
  const hasTrades = flow.coveredMs > 0 || buys + sells > 0; // before the first one, nothing is known of the span
  setText(nodes.bought, `Bought ${hasTrades ? figure(bought, decimals) : UNKNOWN}`);
  setText(nodes.buys, hasTrades ? ` (${fixed(buys, 0)})` : "");
  setText(nodes.sold, `${hasTrades ? figure(sold, decimals) : UNKNOWN} sold`);
  setText(nodes.sells, hasTrades ? ` (${fixed(sells, 0)})` : "");
  setText(nodes.span, flowNote(flow, spanMs));
  const trades = (/** @type {number} */ count) => counted(count, "trade", "trades");
  const title = `Bought in ${trades(buys)}, sold in ${trades(sells)} over ${spanText(spanMs)} at most`;
  setAttr(nodes.box, "title", hasTrades ? title : null);
  for (const [name, value] of Object.entries({ bought, sold, buys, sells })) setAttr(nodes.box, `data-${name}`, value);
  setAttr(nodes.box, "data-known", part === null ? "no" : null);
  setFill(nodes.track, part ?? 0);
}
