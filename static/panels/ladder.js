// The order book: asks above, the spread in the middle, bids below, in a fixed set of rows that are refilled and
// never re-made. It paints the picture it is given; how many levels show follows from the room the page leaves it.

import { createBars } from "../depth_bars.js";
import { attribute, element, show, write } from "../dom.js";
import { age, bps, commonLead, figure, fixed, quantityColumn, UNKNOWN } from "../format.js";
import { cumulative, fitRows, percentile, share, sweep } from "../scale.js";
import { lastTrade, levelChanges } from "../state.js";
import { beyond, beyondWords, shortWords, TOP_LEVELS } from "../known_range.js";

const ROWS = { most: TOP_LEVELS, fewest: 4, low: 16, high: 24 };
const FLASH_MS = 130; // a change is bright for this long ...
const FADE_MS = 280; // ... and gone after this
const FLASH_MS_MIN = 340; // at most three flashes a second at one price (WCAG 2.3.1)
const WALL_PART = 0.95; // a level as large as this percentile of the shown ones gets the densest bar
const QUOTE_DECIMALS_MAX = 3;
const SIZE_SPAN = [0.4, 0.645]; // the size column, as parts of the width: where a change flashes
const CALM = window.matchMedia("(prefers-reduced-motion: reduce)");
const HINT = "Point at a level for the cost of taking the book up to it";
const BEYOND = "beyond what is known";
const ARROWS = { 1: "\u25b2", "-1": "\u25bc", 0: "" };

/** Paints into `section`; `onResize()` asks for another paint because there is more or less room now. */
export function createLadder(section, { onResize }) {
  const table = section.querySelector(".ladder-table");
  const spread = spreadRow();
  const sides = { ask: createSide("ask"), bid: createSide("bid") };
  table.append(sides.ask.body, spread.body, sides.bid.body);
  const nodes = {
    section,
    table,
    spread,
    sides,
    note: section.querySelector(".ladder-note"),
    sweep: section.querySelector(".sweep"),
    body: section.querySelector(".ladder-body"),
    veil: section.querySelector(".veil"),
    veilWords: section.querySelector(".veil-words"),
    quoteAsset: section.querySelector(".quote-asset"),
    baseAssets: section.querySelectorAll(".base-asset"),
  };
  const cursor = createCursor(table, onResize);
  const fade = createTimer(onResize, FLASH_MS + 10);
  const bars = createBars(section.querySelector(".ladder-bars"), SIZE_SPAN);
  let rows = { ...fitRows(0, ROWS), width: 0, height: 0, head: 0 };
  let before = { key: "", bids: [], asks: [] };

  new ResizeObserver(() => {
    rows = measured(nodes);
    bars.resize(rows.width, rows.height);
    table.style.setProperty("--row-height", `${rows.rowHeight}px`);
    onResize();
  }).observe(nodes.body);

  return {
    paint(view) {
      const book = readBook(view, rows.count);
      const key = view.picture === null ? "" : `${view.picture.symbol} ${view.picture.instance}`;
      const known = before.key === key ? before : { bids: [], asks: [] };
      before = { key, bids: book.bids, asks: book.asks };
      noteChanges(sides.ask.flashes, levelChanges(known.asks, book.asks), view.nowMs);
      noteChanges(sides.bid.flashes, levelChanges(known.bids, book.bids), view.nowMs);
      paintSide(sides.ask, book, book.asks);
      paintSide(sides.bid, book, book.bids);
      bars.draw([...barRows(sides.ask, book, rows, view.nowMs), ...barRows(sides.bid, book, rows, view.nowMs)]);
      if (sides.ask.flashes.size + sides.bid.flashes.size > 0) fade.soon();
      paintSpread(spread, view);
      paintHead(nodes, view);
      paintCursor(nodes, cursor.place(book), book, view);
    },
    /** The part that also changes with time: the veil over a book that may not be trusted. */
    paintVeil({ verdict }) {
      show(nodes.veil, !verdict.trusted);
      if (!verdict.trusted) write(nodes.veilWords, veilWords(verdict));
    },
  };
}

function createSide(side) {
  const body = element("tbody", { role: "rowgroup", "data-side": side });
  const rows = Array.from({ length: TOP_LEVELS }, (_, level) => createRow(side, level));
  body.append(...rows.map(({ row }) => row));
  if (side === "ask") body.replaceChildren(...rows.map(({ row }) => row).reverse()); // the best ask is the lowest
  return { side, body, rows, flashes: new Map() }; // flashes: price -> {change, atMs}
}

function createRow(side, level) {
  const lead = element("span", { class: "lead" });
  const rest = element("span", { class: "rest" });
  const price = element("th", { role: "rowheader", scope: "row", class: "price" }, lead, rest);
  const size = element("td", { role: "cell", class: "size" });
  const total = element("td", { role: "cell", class: "total" });
  const attributes = { role: "row", class: "level", "data-side": side, "data-level": level };
  const row = element("tr", attributes, price, size, total);
  return { row, lead, rest, size, total };
}

function spreadRow() {
  const arrow = element("span", { class: "mid-arrow", "aria-hidden": "true" });
  const last = element("span", { class: "mid-last" });
  const gap = element("span", { class: "mid-gap" });
  const micro = element("span", { class: "mid-micro" });
  const cell = element(
    "td",
    { role: "cell", colspan: 3, class: "mid" },
    element("span", { class: "mid-price", title: "Last traded price" }, last, arrow),
    element("span", { class: "mid-facts" }, gap, micro),
  );
  const row = element("tr", { role: "row", class: "mid-row", "data-testid": "spread-row" }, cell);
  const body = element("tbody", { role: "rowgroup", class: "mid-body" }, row);
  return { body, cell, arrow, last, gap, micro };
}

// How many rows fit and where. The spread row takes what is left over, so it counts with its least height.
function measured({ body, table, spread }) {
  const head = table.tHead.offsetHeight;
  const room = body.clientHeight - head - pixels(spread.body, "min-height", 0);
  const fit = fitRows(room, { ...ROWS, low: pixels(table, "--row-height-min", ROWS.low) });
  return { ...fit, head, width: body.clientWidth, height: body.clientHeight };
}

function pixels(node, property, otherwise) {
  const length = parseFloat(getComputedStyle(node).getPropertyValue(property));
  return Number.isFinite(length) ? length : otherwise;
}

// Everything a paint needs, worked out once for both sides: one scale, one number format, one dimmed lead.
function readBook({ picture, instrument }, count) {
  const bids = (picture?.bids ?? []).slice(0, count);
  const asks = (picture?.asks ?? []).slice(0, count);
  const decimals = instrument?.quantity_decimals ?? 0;
  const priceText = (price) => fixed(price, instrument.price_decimals);
  const totals = { bid: cumulative(bids), ask: cumulative(asks) };
  const largest = Math.max(totals.bid.at(-1) ?? 0, totals.ask.at(-1) ?? 0);
  const sizes = [...bids, ...asks].map(([, quantity]) => quantity);
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
    empty: picture === null,
    beyond: beyond(picture),
    beyondWords: picture === null ? {} : beyondWords(picture, instrument),
  };
}

// A flash belongs to its price and not to a row, so it moves along when the book shifts under it.
function noteChanges(flashes, changes, nowMs) {
  for (const [price, { atMs }] of flashes) {
    if (nowMs - atMs >= FLASH_MS_MIN) flashes.delete(price);
  }
  for (const [price, change] of changes) {
    if (!flashes.has(price)) flashes.set(price, { change, atMs: nowMs });
  }
}

// Bars grow from the right; asks are stacked upwards from the spread, bids downwards.
function barRows({ side, flashes }, book, { count, rowHeight, head, height }, nowMs) {
  const levels = side === "ask" ? book.asks : book.bids;
  return levels.map(([price, quantity], at) => ({
    side,
    top: side === "ask" ? head + (count - 1 - at) * rowHeight : height - (count - at) * rowHeight,
    height: rowHeight,
    part: share(book.totals[side][at], book.largest),
    strength: share(quantity, book.wall),
    flash: CALM.matches ? null : flashOf(flashes.get(price), nowMs),
  }));
}

function flashOf(flash, nowMs) {
  const ageMs = flash === undefined ? Infinity : nowMs - flash.atMs;
  if (ageMs >= FADE_MS) return null;
  return { change: flash.change, phase: ageMs < FLASH_MS ? "bright" : "fading" };
}

// Lets flashes end also when no picture comes: each picture puts the call off, since it paints anyway.
function createTimer(act, waitMs) {
  let timer = null;
  return {
    soon() {
      clearTimeout(timer);
      timer = setTimeout(act, waitMs);
    },
  };
}

function paintSide({ side, rows }, book, levels) {
  const totals = book.totals[side];
  for (let at = 0; at < TOP_LEVELS; at += 1) {
    const row = rows[at];
    show(row.row, at < book.count);
    const isBeyond = at >= book.beyond[side];
    attribute(row.row, "data-beyond", isBeyond);
    attribute(row.row, "title", isBeyond ? book.beyondWords[side] : null);
    if (at < levels.length) fillRow(row, levels[at], totals[at], book);
    else clearRow(row, emptyWords(side, at, book));
  }
}

function emptyWords(side, at, { beyond, empty }) {
  if (at === beyond[side]) return BEYOND;
  return at === 0 && !empty ? `No ${side}s known` : "";
}

function fillRow(row, [price, quantity], total, book) {
  const text = book.priceText(price);
  const lead = text.startsWith(book.lead) ? book.lead : "";
  attribute(row.row, "data-note", null);
  attribute(row.row, "data-price", price);
  attribute(row.row, "data-quantity", quantity);
  write(row.lead, lead);
  write(row.rest, text.slice(lead.length));
  write(row.size, book.sizeText(quantity));
  write(row.total, book.totalText(total));
}

function clearRow(row, note) {
  attribute(row.row, "data-price", null);
  attribute(row.row, "data-quantity", null);
  attribute(row.row, "data-note", note === "" ? null : true);
  write(row.lead, "");
  write(row.rest, note);
  write(row.size, "");
  write(row.total, "");
}

function paintSpread(nodes, { picture, instrument, trades }) {
  const metrics = picture?.metrics ?? {};
  const decimals = instrument?.price_decimals ?? 2;
  const last = lastTrade(trades);
  const direction = last?.direction ?? 0;
  attribute(nodes.cell, "data-direction", direction);
  write(nodes.last, last === null ? UNKNOWN : fixed(last.price, decimals));
  write(nodes.arrow, ARROWS[direction]);
  const known = Number.isFinite(metrics.spread_abs) && Number.isFinite(metrics.spread_bps);
  const gap = known ? `${fixed(metrics.spread_abs, decimals)} \u00b7 ${bps(metrics.spread_bps)} bps` : UNKNOWN;
  write(nodes.gap, `Spread ${gap}`);
  write(nodes.micro, `Microprice ${fixed(metrics.microprice ?? NaN, decimals + 1)}`);
}

function paintHead(nodes, { picture, instrument }) {
  write(nodes.quoteAsset, instrument?.quote_asset ?? "");
  for (const node of nodes.baseAssets) write(node, instrument?.base_asset ?? "");
  const words = picture === null ? "" : shortWords(picture);
  write(nodes.note, words);
  attribute(nodes.note, "data-short", words.includes("only"));
}

function veilWords({ words, ageMs, counts }) {
  return ageMs === null || counts ? words : `${words} \u00b7 last data ${age(ageMs)} ago`;
}

// The level the reader points at, by pointer or by arrow keys: a place in the ladder, not a price, so it stays put.
function createCursor(table, onMove) {
  let at = null; // {side, level}
  const move = (next) => {
    at = next;
    onMove();
  };
  const rowOf = (event) => event.target.closest("[data-price]");
  const pointed = (event) => {
    const row = rowOf(event);
    move(row === null ? null : { side: row.dataset.side, level: Number(row.dataset.level) });
  };
  table.addEventListener("pointerover", pointed);
  table.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && move(null));
  table.addEventListener("blur", () => move(null));
  table.addEventListener("keydown", (event) => {
    if (event.key === "Escape") move(null);
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    move(stepped(at, event.key === "ArrowUp" ? 1 : -1));
  });
  return {
    place({ bids, asks }) {
      if (at === null) return null;
      const levels = at.side === "ask" ? asks : bids;
      if (levels.length === 0) return null;
      return { side: at.side, level: Math.min(at.level, levels.length - 1), levels };
    },
  };
}

// Upwards (+1) leads from the bids through the spread into the asks.
function stepped(at, step) {
  if (at === null) return { side: step > 0 ? "ask" : "bid", level: 0 };
  const outward = at.side === "ask" ? step : -step;
  if (at.level + outward >= 0) return { side: at.side, level: Math.min(TOP_LEVELS - 1, at.level + outward) };
  return { side: at.side === "ask" ? "bid" : "ask", level: 0 };
}

function paintCursor({ sides, sweep: node }, place, book, { picture, instrument }) {
  for (const { side, rows } of Object.values(sides)) {
    const until = place?.side === side ? place.level : -1;
    for (let at = 0; at < book.count; at += 1) attribute(rows[at].row, "data-swept", at <= until);
  }
  const cost = place === null ? null : sweep(place.levels, place.level, picture.metrics.mid_price);
  attribute(node, "data-side", cost === null ? null : place.side);
  write(node, cost === null ? HINT : costWords(cost, place.side, instrument));
}

function costWords(cost, side, { base_asset: base, quote_asset: quote, price_decimals, quantity_decimals }) {
  const act = side === "ask" ? "Buy" : "Sell";
  const size = figure(cost.quantity, quantity_decimals);
  const total = figure(cost.quote, QUOTE_DECIMALS_MAX);
  const average = fixed(cost.average, price_decimals);
  return `${act} ${size} ${base}, avg ${average}, ${total} ${quote}, ${bps(cost.slippage_bps)} bps`;
}
