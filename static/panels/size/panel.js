// My size: what it costs to buy and to sell for a sum of the quote asset now, over all that is known of the book. The
// server walks the book; the panel subscribes to the cost of the user's sum.

import { element, setAttr, setText } from "../../dom.js";
import { reactive } from "../../signals.js";
import { costLines, notionalOf } from "./text.js";

/** @import {CostMessage} from "../../liquidity_types.js" */
/** @import {Frame, Panel, PanelContext} from "../../panel_frame.js" */
/** @import {CostLine} from "./text.js" */

const DEFAULT = "10000";
const SETTING = "size";
const WRONG = "A sum above 0 and below 1,000,000,000,000, with at most 8 decimals";

/**
 * Create the panel.
 * @param {Frame} frame
 * @param {PanelContext} context
 * @returns {Panel}
 */
export function mount({ body, id }, { settings }) {
  const field = element("input", {
    id: id("sum"),
    class: "size-sum figure",
    type: "text",
    inputmode: "decimal",
    autocomplete: "off",
    "data-testid": "size-sum",
    "aria-describedby": id("wrong"),
  });
  const asset = element("span", { class: "size-asset" });
  const wrong = element("p", { id: id("wrong"), class: "size-wrong", role: "status" });
  const table = element("table", { class: "size-table values of-depth", "data-testid": "size-table" });
  const head = element("tr", {}, element("th", { scope: "col" }, "Now"));
  for (const name of ["Buy", "Sell"]) head.append(element("th", { scope: "col", class: name.toLowerCase() }, name));
  const rows = element("tbody", {});
  table.append(element("thead", {}, head), rows);
  const note = element("p", { class: "size-note", "data-testid": "size-note" });
  body.append(
    element("p", { class: "size-form" }, element("label", { for: id("sum") }, "For "), field, " ", asset),
    wrong,
    table,
    note,
  );
  const typed = reactive({ text: settings.get(SETTING) || DEFAULT });
  field.value = typed.text;
  field.addEventListener("input", () => {
    typed.text = field.value;
    const notional = notionalOf(field.value);
    if (notional !== "") settings.set(SETTING, notional);
  });
  /** @type {CostMessage | null} */
  let held = null; // what is on the screen
  /** @type {Map<string, ReturnType<typeof rowNodes>>} */
  const nodes = new Map();

  /**
   * @param {string} notional
   * @param {string} quoteAsset
   */
  function paintField(notional, quoteAsset) {
    setText(wrong, notional === "" ? WRONG : "");
    setAttr(field, "aria-invalid", notional === "" ? "true" : null);
    setText(asset, quoteAsset);
  }

  /** @param {CostLine} line */
  function paintLine({ name, term, buy, sell }) {
    let row = nodes.get(name);
    if (row === undefined) {
      row = rowNodes(name, term);
      nodes.set(name, row);
      rows.append(row.node);
    }
    setText(row.buy, buy);
    setText(row.sell, sell);
  }

  return {
    paint(model) {
      const notional = notionalOf(typed.text);
      paintField(notional, model.instrument?.quote_asset ?? "");
      const topic = `cost.${model.selected}.${notional}`;
      const newest = /** @type {CostMessage | null} */ (model.message(topic));
      if (model.paused === null) held = newest;
      const message = held?.topic === topic ? held : null; // while paused another sum has no cost to show
      const { lines, text } = costLines(message, model.instrument);
      setAttr(table, "data-seq", message?.seq ?? null);
      for (const line of lines) paintLine(line);
      const waiting = notional === "" || message !== null ? "" : waitingText(model.paused !== null);
      setText(note, text || waiting);
    },
    topics({ selected }) {
      const notional = notionalOf(typed.text);
      return notional === "" ? [] : [{ topic: `cost.${selected}.${notional}`, rate: "4hz" }];
    },
  };
}

/** @param {boolean} isPaused */
function waitingText(isPaused) {
  return isPaused
    ? "Paused: this sum has no cost at the moment that is shown"
    : "The server has not sent this cost yet";
}

/**
 * @param {string} name
 * @param {string} term
 */
function rowNodes(name, term) {
  const buy = element("td", { class: "figure" });
  const sell = element("td", { class: "figure" });
  const node = element("tr", { "data-line": name }, element("th", { scope: "row" }, term), buy, sell);
  return { node, buy, sell };
}
