// The candles as a table, for those who cannot see the chart and for reading numbers: the newest bars first. It is
// filled while it is shown.

import { deltaOf } from "../../indicators.js";
import { element, setAttr, setText } from "../../dom.js";
import { fixed, quantityColumn, UNKNOWN } from "../../format.js";
import { cityOf, zoned } from "../../time_zone.js";
import { sourceText } from "./legend.js";

/** @import {Bar} from "../../state.js" */
/** @import {Instrument} from "../../types.js" */

const ROWS_MAX = 200;
const COLUMNS = ["Time", "Open", "High", "Low", "Close", "Volume", "Delta", "Source"];

/**
 * Create the table in `host`, hidden.
 * @param {HTMLElement} host
 */
export function createTable(host) {
  const caption = element("caption", { class: "unseen" });
  const body = element("tbody");
  const heads = COLUMNS.map((name) => element("th", { scope: "col" }, name));
  const head = element("thead", {}, element("tr", {}, ...heads));
  const table = element("table", { class: "chart-table figure", "data-testid": "chart-table" }, caption, head, body);
  const label = { role: "region", "aria-label": "Candles as a table", tabindex: 0 };
  const frame = element("div", { class: "chart-table-frame values", hidden: true, ...label }, table);
  host.append(frame);
  let painted = "";

  return {
    frame,
    /**
     * @param {Bar[]} bars
     * @param {Bar | null} live
     * @param {Instrument} instrument
     * @param {string} zone
     * @param {string} name of what is shown, such as "BTCUSDT, 5 minutes"
     */
    paint(bars, live, instrument, zone, name) {
      const all =
        live !== null && live.time > (bars.at(-1)?.time ?? -Infinity) ? [...bars.slice(-ROWS_MAX), live] : bars;
      const shown = all.slice(-ROWS_MAX).reverse();
      const key = JSON.stringify([name, zone, shown[0], shown.at(-1)?.time, shown.length]);
      if (key === painted) return;
      painted = key;
      setText(caption, `${name}: the newest ${shown.length} candles, newest first`);
      setText(heads[0], `Time (${zone === "UTC" ? zone : cityOf(zone)})`);
      while (body.rows.length > shown.length) body.deleteRow(-1);
      while (body.rows.length < shown.length) body.append(createRow());
      for (const [at, bar] of shown.entries()) fill(body.rows[at], bar, bar === live, instrument, zone);
    },
  };
}

function createRow() {
  const cells = COLUMNS.slice(1).map(() => element("td"));
  return element("tr", {}, element("th", { scope: "row" }), ...cells);
}

/**
 * @param {HTMLTableRowElement} row
 * @param {Bar} bar
 * @param {boolean} isRunning
 * @param {Instrument} instrument
 * @param {string} zone
 */
function fill(row, bar, isRunning, { price_decimals, quantity_decimals }, zone) {
  const { date, time } = zoned(bar.time, zone);
  const quantity = quantityColumn(bar.volume, Math.min(5, quantity_decimals));
  const delta = deltaOf(bar);
  const prices = [bar.open, bar.high, bar.low, bar.close].map((price) => fixed(price, price_decimals));
  const volumes = [quantity(bar.volume), delta === null ? UNKNOWN : quantity(delta)];
  const source = isRunning ? "running" : sourceText(bar);
  for (const [at, text] of [`${date} ${time}`, ...prices, ...volumes, source].entries()) setText(row.cells[at], text);
  setAttr(row, "data-time", bar.time);
  setAttr(row, "data-side", bar.close >= bar.open ? "bid" : "ask");
}
