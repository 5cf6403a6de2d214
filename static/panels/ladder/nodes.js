// The order book's nodes: its markup, and a fixed set of rows that are refilled and never re-created.

import { element } from "../../dom.js";
import { TOP_LEVELS } from "../../known_range.js";

/** @import {Frame} from "../../panel_frame.js" */
/** @import {Change} from "../../state.js" */
/** @import {Side} from "../../types.js" */

/** @typedef {ReturnType<typeof createRow>} Row */
/** @typedef {{change: Change, atMs: number}} Started */
/** @typedef {{side: Side, body: HTMLElement, rows: Row[], flashes: Map<number, Started>}} SideNodes */
/** @typedef {ReturnType<typeof spreadRow>} SpreadNodes */

/**
 * Fill the panel.
 * @param {Frame} frame
 */
export function fill({ head, body, heading, id, streamAge }) {
  head.append(
    streamAge("depth", "book-age"),
    element("p", { class: "panel-note ladder-note", "data-testid": "ladder-note" }),
  );
  /** @param {string} name @param {string} asset */
  const column = (name, asset) =>
    element("th", { role: "columnheader", scope: "col" }, `${name} `, element("span", { class: `unit ${asset}` }));
  const columns = [column("Price", "quote-asset"), column("Size", "size-asset"), column("Total", "size-asset")];
  const table = element(
    "table",
    {
      class: "ladder-table values of-depth",
      role: "table",
      tabindex: 0,
      "data-testid": "ladder",
      "aria-labelledby": heading.id,
      "aria-describedby": id("keys"),
    },
    element("thead", { role: "rowgroup" }, element("tr", { role: "row", class: "level level-head" }, ...columns)),
  );
  const overlay = element("p", { class: "overlay-text" });
  const group = element("select", { class: "ladder-group", "data-testid": "ladder-group", "aria-keyshortcuts": "- +" });
  const unit = element("select", { class: "ladder-unit", "data-testid": "ladder-unit", "aria-keyshortcuts": "u" });
  body.append(
    element(
      "div",
      { class: "ladder-tools" },
      element("label", {}, element("span", {}, "Group "), group),
      element("label", {}, element("span", {}, "in "), unit),
    ),
    element(
      "div",
      { class: "ladder-body" },
      element("canvas", { class: "ladder-bars values of-depth", width: 0, height: 0, "aria-hidden": "true" }),
      table,
      element("div", { class: "overlay", "data-testid": "overlay", hidden: true }, overlay),
    ),
    element("p", { id: id("keys"), class: "sweep", "data-testid": "sweep" }),
    element("p", { class: "unseen cursor-spoken", role: "status", "data-testid": "cursor-spoken" }),
  );
}

/**
 * @param {Side} side
 * @returns {SideNodes}
 */
export function createSide(side) {
  const body = element("tbody", { role: "rowgroup", "data-side": side });
  const rows = Array.from({ length: TOP_LEVELS }, (_, level) => createRow(side, level));
  const nodes = rows.map(({ row }) => row);
  body.append(...(side === "ask" ? nodes.reverse() : nodes)); // the best ask is the lowest
  return { side, body, rows, flashes: new Map() };
}

/**
 * @param {Side} side
 * @param {number} level
 */
function createRow(side, level) {
  const lead = element("span", { class: "lead" });
  const rest = element("span", { class: "rest" });
  const name = element("span", { class: "unseen" }, side === "ask" ? "Ask " : "Bid ");
  const price = element("th", { role: "rowheader", scope: "row", class: "price" }, name, lead, rest);
  const size = element("td", { role: "cell", class: "size" });
  const total = element("td", { role: "cell", class: "total" });
  const attributes = { role: "row", class: "level", "data-side": side, "data-level": level };
  const row = element("tr", attributes, price, size, total);
  return { row, lead, rest, size, total };
}

export function spreadRow() {
  const arrow = element("span", { class: "mid-arrow", "aria-hidden": "true" });
  const last = element("span", { class: "mid-last" });
  const gap = element("span", { class: "mid-gap" });
  const micro = element("span", { class: "mid-micro" });
  const cell = element(
    "td",
    { role: "cell", colspan: 3, class: "mid" },
    element("span", { class: "mid-price of-trade", title: "Last traded price" }, last, arrow),
    element("span", { class: "mid-facts" }, gap, micro),
  );
  const row = element("tr", { role: "row", class: "mid-row", "data-testid": "spread-row" }, cell);
  const body = element("tbody", { role: "rowgroup", class: "mid-body" }, row);
  return { body, cell, arrow, last, gap, micro };
}
