// What the user measures and marks on the chart: the ruler between two points, the horizontal lines of a symbol, and
// the bars as a file. Pure.

import { counted, quantityColumn, signed } from "../../format.js";

/** @import {Bar} from "../../state.js" */
/** @import {Instrument} from "../../types.js" */

/** A point of the chart: a bar's open in seconds, and a price.
 * @typedef {{time: number, price: number}} Point
 */

export const LINES_MAX = 20; // of one symbol
const COLUMNS = ["timestamp", "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"];

/**
 * Return what lies between two points as a text: the change of the price, the bars and the time, and what was traded in
 * them, the first one's left out.
 * @param {Point} from
 * @param {Point} to
 * @param {Bar[]} bars
 * @param {Pick<Instrument, "price_decimals" | "quantity_decimals" | "base_asset">} instrument
 */
export function rulerText(from, to, bars, { price_decimals, quantity_decimals, base_asset }) {
  const change = to.price - from.price;
  const [first, last] = [Math.min(from.time, to.time), Math.max(from.time, to.time)];
  const within = bars.filter(({ time }) => time > first && time <= last);
  const volume = within.reduce((sum, bar) => sum + bar.volume, 0);
  const traded = `${quantityColumn(volume, Math.min(3, quantity_decimals))(volume)} ${base_asset}`;
  const percent = `${signed((change / from.price) * 100, 2)} %`;
  const time = durationText(last - first);
  return `${signed(change, price_decimals)} (${percent}), ${counted(within.length, "bar", "bars")}, ${time}, ${traded}`;
}

/**
 * Format a whole number of minutes: "7 min", "3 h 05 min", "2 d 4 h".
 * @param {number} seconds
 */
export function durationText(seconds) {
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60];
  if (hours < 24) return `${hours} h ${String(rest).padStart(2, "0")} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/**
 * Return the prices of the lines that a text of `linesText` stands for; what is no price is left out.
 * @param {string} text
 */
export function linesOf(text) {
  const prices = text.split(",").map(Number);
  return [...new Set(prices.filter((price) => Number.isFinite(price) && price > 0))].slice(0, LINES_MAX);
}

/** @param {number[]} prices */
export function linesText(prices) {
  return prices.join(",");
}

/**
 * Return the lines with one more at `price`, or without the one that lies within `reach` of it; the oldest goes where
 * there would be too many.
 * @param {number[]} prices
 * @param {number} price
 * @param {number} reach
 */
export function toggledLine(prices, price, reach) {
  const near = prices.filter((one) => Math.abs(one - price) <= reach);
  if (near.length > 0) return prices.filter((one) => !near.includes(one));
  return [...prices, price].slice(-LINES_MAX);
}

/**
 * Return the price that is a multiple of the tick size and nearest to `price`.
 * @param {number} price
 * @param {Pick<Instrument, "tick_size" | "price_decimals">} instrument
 */
export function onTick(price, { tick_size: tick, price_decimals: decimals }) {
  return Number((tick > 0 ? Math.round(price / tick) * tick : price).toFixed(decimals));
}

/**
 * Return bars as CSV (RFC 4180), oldest first, with the columns that `/api/ohlcv?format=csv` has for them.
 * @param {Bar[]} bars
 */
export function csvOf(bars) {
  const lines = bars.map((bar) =>
    [
      new Date(bar.time * 1000).toISOString().replace(".000Z", "+00:00"),
      ...[bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quoteVolume, bar.takerBuyVolume],
      bar.source,
      bar.isReconciled,
      bar.missing,
    ].join(","),
  );
  return [[...COLUMNS, "source", "reconciled", "missing_minutes"].join(","), ...lines, ""].join("\r\n");
}
