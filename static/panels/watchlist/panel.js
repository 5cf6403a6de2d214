// The watchlist: last price and change of 24 hours of every symbol that the exchange lists, sorted and searched. It is
// one answer of the server, asked for while the panel is shown; its age is told, and old prices are dimmed.

import { closest, element, setAttr, setText } from "../../dom.js";
import { Fetcher } from "../../fetcher.js";
import { counted, waitText } from "../../format.js";
import { ageOf, listed, orderOf, orderText, pressed, rowTexts, sideOf, sortedAs } from "../../watch_list.js";

/** @import {Frame, Panel, PanelContext} from "../../panel_frame.js" */
/** @import {WatchReport, WatchRow} from "../../types.js" */
/** @import {WatchKey} from "../../watch_list.js" */

const ORDER = "watch.order";
const FIRST_MS = 2_000; // how soon it is asked for again while the exchange has not answered the server yet
const ROWS_MORE = 100; // rows at first, and how many are added when the user has scrolled close to their end
const NEAR_END_PX = 300;
/** @type {{key: WatchKey, text: string, title: string}[]} */
const COLUMNS = [
  { key: "symbol", text: "Symbol", title: "Sort by name" },
  { key: "last", text: "Last", title: "Sort by the last price" },
  { key: "change_percent", text: "24 h", title: "Sort by the change of 24 hours" },
  { key: "quote_volume", text: "Volume", title: "Sort by what was traded in 24 hours, in the quote asset" },
];

/**
 * Create the panel.
 * @param {Frame} frame
 * @param {PanelContext} context
 * @returns {Panel}
 */
export function mount(frame, { repaint, settings, server, platform, commands }) {
  const nodes = fill(frame);
  /** @type {{report: WatchReport, receivedAtMs: number} | null} */
  let known = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let wanted = ROWS_MORE;
  let painted = "";
  let version = 0;

  /** @type {Fetcher<WatchReport>} */
  const fetcher = new Fetcher({
    onData(report) {
      known = { report, receivedAtMs: Date.now() };
      version += 1;
      timer = setTimeout(request, report.date_ms === null && report.trouble === "" ? FIRST_MS : report.every_ms);
      repaint();
    },
    onChange: repaint,
    platform,
  });

  function request() {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(request, FIRST_MS);
    else fetcher.load(server.http("api/watchlist"));
  }

  nodes.head.addEventListener("click", (event) => {
    const key = /** @type {WatchKey | undefined} */ (closest(event, "[data-key]")?.dataset.key);
    if (key !== undefined) settings.set(ORDER, orderText(pressed(orderOf(settings.get(ORDER)), key)));
  });
  nodes.search.addEventListener("input", () => {
    wanted = ROWS_MORE;
    repaint();
  });
  nodes.body.addEventListener("click", (event) => commands.select(closest(event, "tr")?.dataset.symbol));
  nodes.scrolled.addEventListener(
    "scroll",
    () => {
      const { scrollTop, scrollHeight, clientHeight } = nodes.scrolled;
      if (scrollHeight - scrollTop - clientHeight > NEAR_END_PX || nodes.body.rows.length < wanted) return;
      wanted += ROWS_MORE;
      repaint();
    },
    { passive: true },
  );

  /**
   * @param {WatchRow[]} rows
   * @param {Map<string, number | undefined>} decimals of prices, by symbol
   * @param {string} selected
   */
  function paintRows(rows, decimals, selected) {
    const { body } = nodes;
    while (body.rows.length > rows.length) body.deleteRow(-1);
    while (body.rows.length < rows.length) body.append(createRow());
    for (const [at, row] of rows.entries()) fillRow(body.rows[at], row, decimals.get(row.symbol), selected);
  }

  return {
    start: request,
    stop() {
      clearTimeout(timer);
      fetcher.stop();
    },
    paint({ selected, symbols }) {
      const order = orderOf(settings.get(ORDER));
      const text = nodes.search.value;
      const decimals = new Map(symbols.map((one) => [one.symbol, one.price_decimals ?? undefined]));
      const key = [version, orderText(order), text, wanted, selected, [...decimals.keys()].join()].join("/");
      if (key === painted || known === null) return;
      painted = key;
      const rows = listed(known.report.rows, order, text);
      for (const [at, column] of COLUMNS.entries()) setAttr(nodes.heads[at], "aria-sort", sortedAs(order, column.key));
      paintRows(rows.slice(0, wanted), decimals, selected);
      setText(nodes.count, counted(rows.length, "symbol", "symbols"));
    },
    paintTime({ nowMs }) {
      const { phase, reason, retryAtMs } = fetcher.status;
      const trouble = phase === "waiting" ? `${reason}. Again in ${waitText(retryAtMs, nowMs)}` : "";
      const { note, isOld } = ageOf(known, trouble, nowMs);
      setText(nodes.note, note);
      setAttr(frame.section, "data-old", isOld);
    },
  };
}

/**
 * Fill the panel.
 * @param {Frame} frame
 */
function fill({ head, body, heading }) {
  const note = element("p", { class: "panel-note", "data-testid": "watch-age" });
  head.append(note);
  const search = element("input", {
    class: "watch-search",
    "data-testid": "watch-search",
    type: "search",
    "aria-label": "Search the watchlist",
    placeholder: "Search",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 20,
  });
  const count = element("span", { class: "watch-count figure", role: "status", "data-testid": "watch-count" });
  const heads = COLUMNS.map(({ key, text, title }) =>
    element("th", { scope: "col" }, element("button", { type: "button", "data-key": key, title }, text)),
  );
  const top = element("thead", {}, element("tr", {}, ...heads));
  const rows = element("tbody");
  const table = element("table", { class: "watch-table figure", "data-testid": "watchlist" }, top, rows);
  setAttr(table, "aria-labelledby", heading.id);
  const scrolled = element("div", { class: "watch-body values" }, table);
  body.append(element("div", { class: "watch-tools" }, search, count), scrolled);
  return { note, search, count, heads, head: top, body: rows, scrolled };
}

function createRow() {
  const name = element("th", { scope: "row" }, element("button", { type: "button" }));
  return element(
    "tr",
    {},
    name,
    ...["last", "change", "volume"].map((column) => element("td", { class: `watch-${column}` })),
  );
}

/**
 * @param {HTMLTableRowElement} node
 * @param {WatchRow} row
 * @param {number | undefined} decimals
 * @param {string} selected
 */
function fillRow(node, row, decimals, selected) {
  const { symbol, change_percent: change } = row;
  const { last, change: changed, volume } = rowTexts(row, decimals);
  const [name, ...cells] = node.cells;
  setAttr(node, "data-symbol", symbol);
  setAttr(node, "data-change", change);
  setAttr(node, "data-side", sideOf(change));
  setText(name.firstElementChild ?? name, symbol);
  setAttr(name.firstElementChild ?? name, "aria-current", symbol === selected ? "true" : null);
  for (const [at, text] of [last, changed, volume].entries()) setText(cells[at], text);
}
