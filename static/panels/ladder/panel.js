// The order book: asks above, the spread in the middle, bids below, in a fixed set of rows that are refilled and never
// re-created. It paints the view it is given; how many levels it shows follows from its height.

import { createDepthBars } from "./bars.js";
import { find, setAttr, setText, setVisible } from "../../dom.js";
import { age, bps, commonLead, figure, fixed, isKnown, quantityColumn, UNKNOWN } from "../../format.js";
import { rangeEndText, shortBook, TOP_LEVELS } from "../../known_range.js";
import { createCursor } from "./cursor.js";
import { createGrouping } from "./grouping.js";
import { costTo } from "./groups.js";
import { createSide, fill, spreadRow } from "./nodes.js";
import { cumulative, fitRows, percentile, share } from "../../scale.js";
import { levelChanges } from "../../state.js";
import { lastTrade } from "../../trade_list.js";

/** @import {BarRow, Flash} from "./bars.js" */
/** @import {Place} from "./cursor.js" */
/** @import {Unit} from "./grouping.js" */
/** @import {Source} from "./groups.js" */
/** @import {GroupRow} from "../../liquidity_types.js" */
/** @import {Row, SideNodes, SpreadNodes, Started} from "./nodes.js" */
/** @import {PanelModel} from "../../page_model.js" */
/** @import {Frame, Panel, PanelContext} from "../../panel_frame.js" */
/** @import {BookStatus, Change} from "../../state.js" */
/** @import {Level, Side} from "../../types.js" */

const ROWS = { most: TOP_LEVELS, fewest: 4, low: 16, high: 24 };
const FLASH_MS = 130; // a change is bright for this long ...
const FADE_MS = 280; // ... and gone after this
const FLASH_MS_MIN = 340; // at most three flashes a second at one price (WCAG 2.3.1)
const WALL_PART = 0.95; // a level as large as this percentile of the shown ones gets the densest bar
const QUOTE_DECIMALS_MAX = 3;
const QUOTE_DECIMALS = 2;
/** The size column, as parts of the width: where a change flashes.
 * @type {[number, number]}
 */
const SIZE_SPAN = [0.4, 0.645];
const REDUCED_MOTION = window.matchMedia("(prefers-reduced-motion: reduce)");
const HINT = "Point at a level to see the cost of taking the book up to it";
const UNKNOWN_LEVEL = "outside the known range";
const ARROWS = { up: "\u25b2", down: "\u25bc", none: "" };

/** @typedef {ReturnType<typeof findNodes>} Nodes */
/** @typedef {ReturnType<typeof readBook>} Shown */
/** How many rows fit, and where, in pixels.
 * @typedef {{count: number, rowHeight: number, head: number, width: number, height: number}} Fit
 */

/**
 * Create the panel.
 * @param {Frame} frame
 * @param {PanelContext} context
 * @returns {Panel}
 */
export function mount(frame, { repaint: onResize, settings }) {
  fill(frame);
  const { section } = frame;
  const nodes = findNodes(section);
  const { table, spread, sides } = nodes;
  table.append(sides.ask.body, spread.body, sides.bid.body);
  const cursor = createCursor(table, onResize);
  const fade = createTimer(onResize, FLASH_MS + 10);
  const bars = createDepthBars(find(section, ".ladder-bars"), SIZE_SPAN);
  /** @type {Fit} */
  let fit = { ...fitRows(0, ROWS), width: 0, height: 0, head: 0 };
  /** @type {{key: string, bids: Level[], asks: Level[]}} */
  let before = { key: "", bids: [], asks: [] };

  const grouping = createGrouping(section, settings);

  new ResizeObserver(() => {
    fit = measured(nodes);
    grouping.setRows(fit.count);
    bars.resize(fit.width, fit.height);
    table.style.setProperty("--row-height", `${fit.rowHeight}px`);
    onResize();
  }).observe(nodes.body);

  return {
    paint(model) {
      const nowMs = Date.now();
      const { source, multiple, message } = grouping.read(model);
      const book = readBook(model, source, fit.count, grouping.unit);
      const key = model.view === null ? "" : `${model.view.symbol} ${model.view.instance} ${multiple} ${grouping.unit}`;
      const known = before.key === key ? before : { bids: [], asks: [] };
      before = { key, bids: book.bids, asks: book.asks };
      noteChanges(sides.ask.flashes, levelChanges(known.asks, book.asks), nowMs);
      noteChanges(sides.bid.flashes, levelChanges(known.bids, book.bids), nowMs);
      paintSide(sides.ask, book, book.asks);
      paintSide(sides.bid, book, book.bids);
      bars.draw([...barRows(sides.ask, book, fit, nowMs), ...barRows(sides.bid, book, fit, nowMs)]);
      if (sides.ask.flashes.size + sides.bid.flashes.size > 0) fade.restart();
      paintSpread(spread, model);
      paintHead(nodes, model, grouping.unit);
      setAttr(table, "data-multiple", multiple);
      setAttr(table, "data-update-id", (message ?? model.view)?.last_update_id ?? null);
      paintCursor(nodes, cursor.place(book), model, source);
      // Said once for each key, not with each view.
      if (cursor.takeKeyMove()) setText(nodes.spoken, nodes.sweep.textContent ?? "");
    },
    topics: (model) => grouping.topics(model),
    /** Paint the overlay on a book that may not be trusted. */
    paintTime({ status }) {
      setVisible(nodes.overlay, !status.trusted);
      if (!status.trusted) setText(nodes.overlayText, overlayText(status));
    },
  };
}

/** @param {HTMLElement} section */
function findNodes(section) {
  /** @type {HTMLTableElement} */
  const table = find(section, ".ladder-table");
  return {
    table,
    head: find(table, "thead"),
    spread: spreadRow(),
    sides: { ask: createSide("ask"), bid: createSide("bid") },
    note: find(section, ".ladder-note"),
    sweep: find(section, ".sweep"),
    spoken: find(section, ".cursor-spoken"),
    body: find(section, ".ladder-body"),
    overlay: find(section, ".overlay"),
    overlayText: find(section, ".overlay-text"),
    quoteAsset: find(section, ".quote-asset"),
    sizeAssets: section.querySelectorAll(".size-asset"),
  };
}

/**
 * Return how many rows fit. The spread row takes what is left over, so it counts with its minimum height.
 * @param {Nodes} nodes
 * @returns {Fit}
 */
function measured({ body, head, table, spread }) {
  const room = body.clientHeight - head.offsetHeight - pixels(spread.body, "min-height", 0);
  const rows = fitRows(room, { ...ROWS, low: pixels(table, "--row-height-min", ROWS.low) });
  return { ...rows, head: head.offsetHeight, width: body.clientWidth, height: body.clientHeight };
}

/**
 * @param {Element} node
 * @param {string} property
 * @param {number} otherwise
 */
function pixels(node, property, otherwise) {
  const length = parseFloat(getComputedStyle(node).getPropertyValue(property));
  return Number.isFinite(length) ? length : otherwise;
}

/**
 * Compute what a paint needs, once for both sides: one scale, one number format, one dimmed lead.
 * @param {PanelModel} model
 * @param {Source} source
 * @param {number} count
 * @param {Unit} unit
 */
function readBook({ view, instrument }, source, count, unit) {
  const bids = inUnit(source.rows.bid, count, unit);
  const asks = inUnit(source.rows.ask, count, unit);
  const priceText = (/** @type {number} */ price) => fixed(price, instrument?.price_decimals ?? 0);
  const totals = { bid: cumulative(bids), ask: cumulative(asks) };
  const largest = Math.max(totals.bid.at(-1) ?? 0, totals.ask.at(-1) ?? 0);
  const sizes = [...bids, ...asks].map(([, quantity]) => quantity);
  const decimals = unit === "quote" ? QUOTE_DECIMALS : (instrument?.quantity_decimals ?? 0);
  return {
    bids,
    asks,
    totals,
    largest,
    count,
    priceText,
    wall: percentile(sizes, WALL_PART),
    sizeText: quantityColumn(Math.max(0, ...sizes), decimals),
    totalText: quantityColumn(largest, decimals),
    lead: commonLead([...bids.slice(-1), ...asks.slice(-1), ...bids.slice(0, 1)].map(([price]) => priceText(price))),
    isEmpty: view === null,
    firstUnknown: source.unknownFrom,
    rangeEnd: rangeEnd(source, instrument),
  };
}

/**
 * @param {Source} source
 * @param {PanelModel["instrument"]} instrument
 */
function rangeEnd({ window }, instrument) {
  return window === null || instrument === null ? { bid: "", ask: "" } : rangeEndText({ window }, instrument);
}

/**
 * @param {GroupRow[]} rows
 * @param {number} count
 * @param {Unit} unit
 * @returns {Level[]}
 */
function inUnit(rows, count, unit) {
  return rows.slice(0, count).map(([price, base, quote]) => [price, unit === "quote" ? quote : base]);
}

/**
 * Start a flash for each change. It belongs to its price and not to a row, so it moves along with the book.
 * @param {Map<number, Started>} flashes
 * @param {Map<number, Change>} changes
 * @param {number} nowMs
 */
function noteChanges(flashes, changes, nowMs) {
  for (const [price, { atMs }] of flashes) {
    if (nowMs - atMs >= FLASH_MS_MIN) flashes.delete(price);
  }
  for (const [price, change] of changes) {
    if (!flashes.has(price)) flashes.set(price, { change, atMs: nowMs });
  }
}

/**
 * Bars grow from the right; asks are stacked upwards from the spread, bids downwards.
 * @param {SideNodes} nodes
 * @param {Shown} book
 * @param {Fit} fit
 * @param {number} nowMs
 * @returns {BarRow[]}
 */
function barRows({ side, flashes }, book, { count, rowHeight, head, height }, nowMs) {
  const levels = side === "ask" ? book.asks : book.bids;
  return levels.map(([price, quantity], at) => ({
    side,
    top: side === "ask" ? head + (count - 1 - at) * rowHeight : height - (count - at) * rowHeight,
    height: rowHeight,
    part: share(book.totals[side][at], book.largest),
    strength: share(quantity, book.wall),
    flash: REDUCED_MOTION.matches ? null : flashOf(flashes.get(price), nowMs),
  }));
}

/**
 * @param {Started | undefined} started
 * @param {number} nowMs
 * @returns {Flash | null}
 */
function flashOf(started, nowMs) {
  if (started === undefined || nowMs - started.atMs >= FADE_MS) return null;
  return { change: started.change, phase: nowMs - started.atMs < FLASH_MS ? "bright" : "fading" };
}

/**
 * Ends flashes also when no view arrives: each view restarts the timer, since it paints anyway.
 * @param {() => void} act
 * @param {number} waitMs
 */
function createTimer(act, waitMs) {
  let timer = 0;
  return {
    restart() {
      clearTimeout(timer);
      timer = window.setTimeout(act, waitMs);
    },
  };
}

/**
 * @param {SideNodes} nodes
 * @param {Shown} book
 * @param {Level[]} levels
 */
function paintSide({ side, rows }, book, levels) {
  const totals = book.totals[side];
  for (const [at, row] of rows.entries()) {
    setVisible(row.row, at < book.count);
    const isUnknown = at >= book.firstUnknown[side];
    setAttr(row.row, "data-unknown", isUnknown);
    setAttr(row.row, "title", isUnknown ? book.rangeEnd[side] : null);
    if (at < levels.length) fillRow(row, levels[at], totals[at], book);
    else clearRow(row, emptyText(side, at, book));
  }
}

/**
 * @param {Side} side
 * @param {number} at
 * @param {Shown} book
 */
function emptyText(side, at, book) {
  if (at === book.firstUnknown[side]) return UNKNOWN_LEVEL;
  return at === 0 && !book.isEmpty ? `No ${side}s` : "";
}

/**
 * @param {Row} row
 * @param {Level} level
 * @param {number} total
 * @param {Shown} book
 */
function fillRow(row, [price, quantity], total, book) {
  const text = book.priceText(price);
  const lead = text.startsWith(book.lead) ? book.lead : "";
  setAttr(row.row, "data-note", null);
  setAttr(row.row, "data-price", price);
  setAttr(row.row, "data-quantity", quantity);
  setText(row.lead, lead);
  setText(row.rest, text.slice(lead.length));
  setText(row.size, book.sizeText(quantity));
  setText(row.total, book.totalText(total));
}

/**
 * @param {Row} row
 * @param {string} note
 */
function clearRow(row, note) {
  setAttr(row.row, "data-price", null);
  setAttr(row.row, "data-quantity", null);
  setAttr(row.row, "data-note", note !== "");
  setText(row.lead, "");
  setText(row.rest, note);
  setText(row.size, "");
  setText(row.total, "");
}

/**
 * @param {SpreadNodes} nodes
 * @param {PanelModel} model
 */
function paintSpread(nodes, { view, instrument, trades }) {
  const metrics = view?.metrics;
  const decimals = instrument?.price_decimals ?? 2;
  const last = lastTrade(trades);
  setAttr(nodes.cell, "data-direction", last?.direction ?? 0);
  setText(nodes.last, fixed(last?.price, decimals));
  setText(nodes.arrow, arrow(last?.direction ?? 0));
  const isQuoted = isKnown(metrics?.spread_abs) && isKnown(metrics?.spread_bps);
  const gap = isQuoted ? `${fixed(metrics?.spread_abs, decimals)} \u00b7 ${bps(metrics?.spread_bps)} bps` : UNKNOWN;
  setText(nodes.gap, `Spread ${gap}`);
  setText(nodes.micro, `Microprice ${fixed(metrics?.microprice, decimals + 1)}`);
}

/** @param {number} direction */
function arrow(direction) {
  if (direction === 0) return ARROWS.none;
  return direction > 0 ? ARROWS.up : ARROWS.down;
}

/**
 * @param {Nodes} nodes
 * @param {PanelModel} model
 * @param {Unit} unit
 */
function paintHead(nodes, { view, instrument }, unit) {
  setText(nodes.quoteAsset, instrument?.quote_asset ?? "");
  const asset = unit === "quote" ? instrument?.quote_asset : instrument?.base_asset;
  for (const node of nodes.sizeAssets) setText(node, asset ?? "");
  const { text, isIncomplete } = view === null ? { text: "", isIncomplete: false } : shortBook(view);
  setText(nodes.note, text);
  setAttr(nodes.note, "data-short", isIncomplete);
}

/** @param {BookStatus} status */
function overlayText({ text, ageMs, hasAge }) {
  return ageMs === null || hasAge ? text : `${text} \u00b7 last data ${age(ageMs)} ago`;
}

/**
 * @param {Nodes} nodes
 * @param {Place | null} place
 * @param {PanelModel} model
 * @param {Source} source
 */
function paintCursor({ sides, sweep: node }, place, { view, instrument }, source) {
  for (const { side, rows } of Object.values(sides)) {
    const until = place?.side === side ? place.level : -1;
    for (const [at, row] of rows.entries()) setAttr(row.row, "data-swept", at <= until);
  }
  const best = place?.side === "ask" ? view?.metrics.best_ask : view?.metrics.best_bid;
  const cost = place === null ? null : costTo(source.rows[place.side], place.level, best ?? NaN);
  setAttr(node, "data-side", cost === null ? null : place?.side);
  if (cost === null || place === null || instrument === null) return setText(node, HINT);
  const size = `${figure(cost.quantity, instrument.quantity_decimals)} ${instrument.base_asset}`;
  const average = `avg ${fixed(cost.average, instrument.price_decimals)}`;
  const total = `${figure(cost.quote, QUOTE_DECIMALS_MAX)} ${instrument.quote_asset}`;
  const act = place.side === "ask" ? "Buy" : "Sell";
  const [, , , bought, sold] = source.rows[place.side][place.level];
  const traded = bought + sold > 0 ? `, ${tradedText(bought, sold, instrument.quantity_decimals)}` : "";
  setText(node, `${act} ${size}, ${average}, ${total}, ${bps(cost.slippage_bps)} bps from the best${traded}`);
}

/**
 * @param {number} bought
 * @param {number} sold
 * @param {number} decimals
 */
function tradedText(bought, sold, decimals) {
  return `lately bought ${figure(bought, decimals)}, sold ${figure(sold, decimals)} there`;
}
