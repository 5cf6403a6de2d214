// The chart's legend: a bar in figures, where it comes from, and what the layers read there.

import { setAttr, setText } from "../../dom.js";
import { fixed, quantityColumn } from "../../format.js";
import { zoned } from "../../time_zone.js";

/** @import {Interval} from "../../intervals.js" */
/** @import {Bar} from "../../state.js" */
/** @import {Instrument} from "../../types.js" */

const DAY_S = 86_400;

/** Where a bar comes from, in words.
 * @type {Record<Bar["source"], string>}
 */
const SOURCES = {
  live: "built here from every trade",
  repaired: "built here, some trades fetched afterwards",
  exchange: "the exchange's own candle",
  mixed: "minutes of several sources",
};

/**
 * Return where a bar comes from, and whether the exchange's own is known to equal it.
 * @param {Pick<Bar, "source" | "isReconciled" | "missing">} bar
 */
export function sourceText({ source, isReconciled, missing }) {
  const checked = isReconciled && source !== "exchange" ? ", equal to the exchange's" : "";
  return `${SOURCES[source]}${checked}${missing > 0 ? `, ${missing} min missing` : ""}`;
}

/** What a layer reads: its name, its title and its value as a text.
 * @typedef {{name: string, title: string, text: string}} Reading
 */

/**
 * @param {{legend: HTMLElement, values: HTMLElement}} nodes
 * @param {Bar | null} bar
 * @param {Reading[]} readings
 * @param {Instrument} instrument
 * @param {Interval} interval
 * @param {string} zone
 */
export function paintLegend({ legend, values }, bar, readings, instrument, interval, zone) {
  if (bar === null) {
    setText(legend, "");
    setText(values, "");
    return;
  }
  setAttr(legend, "data-side", bar.close >= bar.open ? "bid" : "ask");
  setAttr(legend, "data-time", bar.time);
  setAttr(legend, "data-low", bar.low);
  setAttr(legend, "data-high", bar.high);
  setAttr(legend, "data-source", bar.source);
  setText(legend, legendText(bar, instrument, interval, zone));
  for (const { name, text } of readings) setAttr(values, `data-${name}`, text);
  // No break within a pair: on two lines each title stays with its number.
  const layers = readings.map(({ title, text }) => `${title.replace(" ", "\u00a0")}\u00a0${text}`);
  setText(values, [...layers, sourceText(bar)].join("  "));
}

/**
 * @param {Bar} bar
 * @param {Instrument} instrument
 * @param {Interval} interval
 * @param {string} zone
 */
function legendText(bar, { price_decimals, quantity_decimals, base_asset }, { stepSeconds }, zone) {
  /** @param {number} value */
  const price = (value) => fixed(value, price_decimals);
  const volume = quantityColumn(bar.volume, Math.min(3, quantity_decimals))(bar.volume);
  const pair = (/** @type {string} */ name, /** @type {string} */ text) => `${name}\u00a0${text}`;
  const figures = [pair("O", price(bar.open)), pair("H", price(bar.high)), pair("L", price(bar.low))];
  figures.push(pair("C", price(bar.close)), pair("V", `${volume}\u00a0${base_asset}`));
  const { date, time } = zoned(bar.time, zone);
  const shown = stepSeconds > 0 && stepSeconds < DAY_S ? time : date;
  const missing = bar.missing > 0 ? `  ${bar.missing} min missing` : "";
  return `${shown}  ${figures.join("  ")}${missing}`;
}
