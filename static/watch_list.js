// The watchlist as rows: which symbols, in which order, and what each column reads. Pure functions of the answer of
// /api/watchlist; they know no document.

import { age, fixed, quantityColumn, signed, UNKNOWN } from "./format.js";

/** @import {WatchReport, WatchRow} from "./types.js" */

/** What the list can be ordered by.
 * @typedef {"symbol" | "last" | "change_percent" | "quote_volume"} WatchKey
 */

/** @typedef {{key: WatchKey, isRising: boolean}} WatchOrder */

/** Largest volumes first, as they come from the exchange in no useful order.
 * @type {WatchOrder}
 */
export const FIRST_ORDER = { key: "quote_volume", isRising: false };
/** @type {WatchKey[]} */
const KEYS = ["symbol", "last", "change_percent", "quote_volume"];
const PRICE_DIGITS = 6; // significant digits of a price whose tick size is not known
const DECIMALS_MAX = 8; // the exchange's finest
const OLD_INTERVALS = 3; // prices that were not renewed for so many intervals are old

/** The newest answer, and when it came.
 * @typedef {{report: WatchReport, receivedAtMs: number}} Known
 */

/**
 * Return the order that a text of `orderText` stands for; the first one for any other.
 * @param {string | null} text
 * @returns {WatchOrder}
 */
export function orderOf(text) {
  const [key, direction] = (text ?? "").split("-");
  const known = KEYS.find((one) => one === key);
  return known === undefined ? FIRST_ORDER : { key: known, isRising: direction === "up" };
}

/** @param {WatchOrder} order */
export function orderText({ key, isRising }) {
  return `${key}-${isRising ? "up" : "down"}`;
}

/**
 * Return the order after a press of a column's head: the other direction of the same column; of another one names
 * rising and numbers falling.
 * @param {WatchOrder} order
 * @param {WatchKey} key
 * @returns {WatchOrder}
 */
export function pressed(order, key) {
  return { key, isRising: order.key === key ? !order.isRising : key === "symbol" };
}

/**
 * Return the rows whose symbol contains `text`, in this order; what is not known is last in any order, and equal ones
 * are in the order of their names.
 * @param {WatchRow[]} rows
 * @param {WatchOrder} order
 * @param {string} text
 */
export function listed(rows, { key, isRising }, text) {
  const wanted = text.trim().toUpperCase();
  const found = rows.filter(({ symbol }) => symbol.toUpperCase().includes(wanted));
  const sign = isRising ? 1 : -1;
  return found.sort((left, right) => {
    if (key === "symbol") return sign * byName(left, right);
    const [one, other] = [left[key], right[key]];
    if (one === null || other === null) return Number(one === null) - Number(other === null) || byName(left, right);
    return sign * (one - other) || byName(left, right);
  });
}

/**
 * @param {WatchRow} left
 * @param {WatchRow} right
 */
function byName({ symbol: left }, { symbol: right }) {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/**
 * Return what a row's columns read. A price has the decimals of its symbol where they are known.
 * @param {WatchRow} row
 * @param {number | undefined} priceDecimals
 */
export function rowTexts({ last, change_percent: change, quote_volume: volume }, priceDecimals) {
  return {
    last: last === null ? UNKNOWN : fixed(last, priceDecimals ?? decimalsOf(last)),
    change: change === null ? UNKNOWN : `${signed(change, 2)} %`,
    volume: volume === null ? UNKNOWN : volumeText(volume),
  };
}

/** @param {number} price */
function decimalsOf(price) {
  if (price === 0) return 0;
  return Math.min(DECIMALS_MAX, Math.max(0, PRICE_DIGITS - 1 - Math.floor(Math.log10(price))));
}

/**
 * Format a day's volume with three to four significant digits: "61.2", "4,120", "1.25M".
 * @param {number} volume
 */
function volumeText(volume) {
  if (volume < 1e6) return fixed(volume, volume < 100 ? 1 : 0);
  return quantityColumn(Math.max(volume, 1e7), 0)(volume).replace(/\.(\d)\d+/, ".$1");
}

/**
 * Return how a column's head says that the rows are sorted by it; null where they are not.
 * @param {WatchOrder} order
 * @param {WatchKey} key
 */
export function sortedAs(order, key) {
  if (order.key !== key) return null;
  return order.isRising ? "ascending" : "descending";
}

/**
 * Return the side that a change is coloured as; null for none.
 * @param {number | null} change
 */
export function sideOf(change) {
  if (change === null || change === 0) return null;
  return change > 0 ? "bid" : "ask";
}

/**
 * Return what is said of the list's age at `nowMs`, and whether it is too old to be bright. `trouble` is why the server
 * could not be asked; that of the answer is why the server could not ask the exchange.
 * @param {Known | null} known
 * @param {string} trouble
 * @param {number} nowMs
 */
export function ageOf(known, trouble, nowMs) {
  const said = trouble || known?.report.trouble || "";
  const ageMs = known?.report.age_ms ?? null;
  if (known === null || ageMs === null) return { note: said || "loading", isOld: true };
  const total = ageMs + Math.max(0, nowMs - known.receivedAtMs);
  return {
    note: said === "" ? `${age(total)} ago` : `${age(total)} ago: ${said}`,
    isOld: total > OLD_INTERVALS * known.report.every_ms,
  };
}
