// The book in groups of prices, as the server makes them of all that it knows: which groups to ask for, and what a
// message of them shows. Without groups the levels of the view are shown. Pure.

import { fixed } from "../../format.js";
import { firstUnknown } from "../../known_range.js";

/** @import {GroupRow, LadderMessage, LadderSide} from "../../liquidity_types.js" */
/** @import {KnownRange, Level, Side, View} from "../../types.js" */

export const MULTIPLES = [1, 10, 100, 1_000, 10_000].flatMap((power) => [power, 2 * power, 5 * power]).concat(100_000);
const ROWS = [10, 20, 50, 100];
export const LEVELS = "levels"; // the choice of no groups; that of "" is automatic

/** What the ladder shows, best first. `unknownFrom` is the index of the first row that is not known, Infinity without.
 * @typedef {object} Source
 * @property {Record<Side, GroupRow[]>} rows
 * @property {Record<Side, number>} unknownFrom
 * @property {KnownRange | null} window
 */

/**
 * Return how many rows a side to ask for, so that `count` can be shown.
 * @param {number} count
 */
export function rowsFor(count) {
  return ROWS.find((rows) => rows >= count) ?? ROWS[ROWS.length - 1];
}

/**
 * Return the ticks of a chosen group; 0 where the choice names none.
 * @param {string} choice
 */
export function chosenMultiple(choice) {
  return MULTIPLES.find((multiple) => String(multiple) === choice) ?? 0;
}

/**
 * Return the choice `by` steps coarser than these groups, or finer; 0 stands for the levels themselves.
 * @param {number} multiple
 * @param {number} by
 */
export function steppedChoice(multiple, by) {
  const at = MULTIPLES.indexOf(multiple) + by;
  return at < 0 ? LEVELS : String(MULTIPLES[Math.min(at, MULTIPLES.length - 1)]);
}

/**
 * Return the groups that the server finds to fill so many rows; 0 while it does not know.
 * @param {LadderMessage | null} message
 * @param {number} rows
 */
export function fittingMultiple(message, rows) {
  return message?.fitting.find((each) => each.rows === rows)?.multiple ?? 0;
}

/**
 * Return the size of a group as a price.
 * @param {number} multiple
 * @param {{tick_size: number, price_decimals: number}} instrument
 */
export function groupText(multiple, { tick_size: tick, price_decimals: decimals }) {
  const step = multiple * (tick || 10 ** -decimals);
  return fixed(step, step < 1 ? decimals : 0);
}

/**
 * Return what a view shows: its levels.
 * @param {View | null} view
 * @returns {Source}
 */
export function sourceOfView(view) {
  const rows = { bid: levelRows(view?.bids ?? []), ask: levelRows(view?.asks ?? []) };
  return { rows, unknownFrom: firstUnknown(view), window: view?.window ?? null };
}

/**
 * Return what a message shows: its groups; null while there is no book, or the size of a tick is not known.
 * @param {LadderMessage} message
 * @returns {Source | null}
 */
export function sourceOfGroups({ ladder: { bids, asks }, window }) {
  if (bids === null || asks === null) return null;
  return {
    rows: { bid: bids.rows, ask: asks.rows },
    unknownFrom: { bid: unknownFrom(bids, window.bid_floor), ask: unknownFrom(asks, window.ask_ceiling) },
    window,
  };
}

/**
 * The group in which the known range ends is not known wholly, so it is no row, and nothing is known behind it.
 * @param {LadderSide} side
 * @param {number | null} end
 */
function unknownFrom({ rows, is_whole: isWhole }, end) {
  return isWhole && end !== null ? rows.length : Infinity;
}

/**
 * @param {Level[]} levels
 * @returns {GroupRow[]}
 */
function levelRows(levels) {
  return levels.map(([price, quantity]) => [price, quantity, price * quantity, 0, 0]);
}

/**
 * Return the cost of taking every row from the best one to `at`: base and quote, average price, and how far that is
 * from the best price in basis points. Null when there is no such row.
 * @param {GroupRow[]} rows
 * @param {number} at
 * @param {number} best
 */
export function costTo(rows, at, best) {
  if (at < 0 || at >= rows.length) return null;
  let quantity = 0;
  let quote = 0;
  for (const [, base, value] of rows.slice(0, at + 1)) {
    quantity += base;
    quote += value;
  }
  const average = quote / quantity;
  return { quantity, quote, average, slippage_bps: (Math.abs(average - best) / best) * 1e4 };
}
