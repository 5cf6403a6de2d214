// What the tape says of many trades: which are large for the symbol, and what was bought and sold in a span of time.
// Pure.

import { age, counted } from "./format.js";
import { percentile } from "./scale.js";
import { tradeBalance } from "./trade_list.js";

/** @import {Trade} from "./types.js" */

/** Parts of the kept trades that are smaller than a large and a very large one, and how many must be kept to know. */
const LARGE = { part: 0.95, fewest: 20 };
const HUGE = { part: 0.99, fewest: 100 };
/** The spans that can be chosen for the sums of bought and sold, in ms. */
export const SPANS_MS = [15_000, 60_000, 300_000, 900_000];
export const SPAN_MS = 60_000;

/** Quantities from which a trade is large, and very large; Infinity while too few trades are known.
 * @typedef {{large: number, huge: number}} Tiers
 */

/**
 * Return the tiers of the kept trades.
 * @param {Pick<Trade, "quantity">[]} trades
 * @returns {Tiers}
 */
export function tiersOf(trades) {
  const quantities = trades.map(({ quantity }) => quantity);
  /** @param {typeof LARGE} tier */
  const from = ({ part, fewest }) => (trades.length < fewest ? Infinity : percentile(quantities, part));
  return { large: from(LARGE), huge: from(HUGE) };
}

/**
 * Return the tier of a trade: 2 above the 99th percentile, 1 above the 95th, 0 otherwise.
 * @param {Pick<Trade, "quantity">} trade
 * @param {Tiers} tiers
 */
export function tierOf({ quantity }, { large, huge }) {
  if (quantity > huge) return 2;
  return quantity > large ? 1 : 0;
}

/** What was traded in a span: quantities, counts, the bought part (null without trades), how long the trades reach back
 * that are kept, and how many of the span are missing by their ids.
 * @typedef {object} Flow
 * @property {number} bought
 * @property {number} sold
 * @property {number} buys
 * @property {number} sells
 * @property {number | null} part
 * @property {number} coveredMs
 * @property {number} missing
 */

/**
 * Return what was traded in the `spanMs` before `nowMs`, by the exchange's clock. Where the kept trades do not reach so
 * far back it is the flow of `coveredMs` alone.
 * @param {Trade[]} trades newest first
 * @param {number} spanMs
 * @param {number} nowMs
 * @returns {Flow}
 */
export function flowOf(trades, spanMs, nowMs) {
  const older = trades.findIndex(({ time_ms: timeMs }) => timeMs < nowMs - spanMs);
  const within = older < 0 ? trades : trades.slice(0, older);
  const oldest = trades[older < 0 ? trades.length - 1 : older];
  const coveredMs = oldest === undefined ? 0 : Math.min(spanMs, Math.max(0, nowMs - oldest.time_ms));
  const buys = within.filter(({ aggressor }) => aggressor === "buyer").length;
  const counts = { buys, sells: within.length - buys };
  return {
    ...tradeBalance(within),
    ...counts,
    coveredMs,
    missing: missingOf(older < 0 ? trades : trades.slice(0, older + 1)),
  };
}

/**
 * Return how many ids lie between the newest and the oldest of these trades without a trade of theirs.
 * @param {Trade[]} trades newest first
 */
function missingOf(trades) {
  let missing = 0;
  for (let at = 1; at < trades.length; at += 1) missing += Math.max(0, trades[at - 1].id - trades[at].id - 1);
  return missing;
}

/**
 * Return over which time a flow is, and what is missing in it, as a clause: "last 1 min", "last 12 s of 5 min: no
 * earlier trades are kept", "last 1 min, 7 trades missing".
 * @param {Flow} flow
 * @param {number} spanMs
 */
export function flowNote({ coveredMs, missing }, spanMs) {
  const span = spanText(spanMs);
  const over = coveredMs < spanMs ? `last ${age(coveredMs)} of ${span}` : `last ${span}`;
  return missing > 0 ? `${over}, ${counted(missing, "trade", "trades")} missing` : over;
}

/**
 * Format a whole number of seconds or minutes: "15 s", "5 min".
 * @param {number} spanMs
 */
export function spanText(spanMs) {
  return spanMs < 60_000 ? `${spanMs / 1000} s` : `${spanMs / 60_000} min`;
}

/**
 * Return the smallest worth that a typed text stands for: a number with an optional K or M; 0 for an empty one, null
 * for anything else.
 * @param {string} text
 */
export function leastOf(text) {
  const plain = text.trim().replaceAll(",", "").toUpperCase();
  if (plain === "") return 0;
  const found = /^(\d+(?:\.\d+)?|\.\d+)([KM]?)$/.exec(plain);
  if (found === null) return null;
  const factor = { "": 1, K: 1e3, M: 1e6 }[found[2]] ?? 1;
  return Number(found[1]) * factor;
}
