// The depth chart's curves: what rests up to each price, from the best one outwards, and where that stands on the
// panel. Pure.

/** @import {GroupRow, LadderMessage} from "../../liquidity_types.js" */

/** What rests from the best price up to this one, in base and quote.
 * @typedef {{price: number, base: number, quote: number}} Depth
 */

/** Both sides, best first, and what the panel spans. A curve that is not `isWhole` goes on beyond what is shown.
 * @typedef {object} Curves
 * @property {Depth[]} bids
 * @property {Depth[]} asks
 * @property {number} low
 * @property {number} high
 * @property {number} most the largest base quantity
 * @property {boolean} isWhole
 */

/**
 * Return the curves of a message; null while there are not two sides.
 * @param {LadderMessage | null} message
 * @returns {Curves | null}
 */
export function curvesOf(message) {
  const { bids = null, asks = null } = message?.ladder ?? {};
  if (bids === null || asks === null || bids.rows.length === 0 || asks.rows.length === 0) return null;
  const [below, above] = [summed(bids.rows), summed(asks.rows)];
  const [lowest, highest] = [below[below.length - 1], above[above.length - 1]];
  return {
    bids: below,
    asks: above,
    low: lowest.price,
    high: highest.price,
    most: Math.max(lowest.base, highest.base),
    isWhole: bids.is_whole && asks.is_whole && bids.partial === null && asks.partial === null,
  };
}

/**
 * @param {GroupRow[]} rows
 * @returns {Depth[]}
 */
function summed(rows) {
  let base = 0;
  let quote = 0;
  return rows.map(([price, quantity, value]) => {
    base += quantity;
    quote += value;
    return { price, base, quote };
  });
}

/**
 * Return a curve as the corners of steps inside `width` x `height`, from the best price outwards.
 * @param {Depth[]} side
 * @param {Curves} curves
 * @param {number} width
 * @param {number} height
 * @returns {[number, number][]}
 */
export function stepsOf(side, { low, high, most }, width, height) {
  const span = high - low || 1;
  /** @type {[number, number][]} */
  const points = [];
  let y = height;
  for (const { price, base } of side) {
    const x = ((price - low) / span) * width;
    points.push([x, y]);
    y = height * (1 - base / most);
    points.push([x, y]);
  }
  return points;
}

/**
 * Return the side and the depth at a place from 0 to 1 across the panel: of the nearest price at or before it, seen
 * from the best one. Null between the two best prices.
 * @param {Curves} curves
 * @param {number} at
 * @returns {{side: "bid" | "ask", depth: Depth} | null}
 */
export function depthAt({ bids, asks, low, high }, at) {
  const price = low + at * (high - low);
  const ask = asks.findLast((each) => each.price <= price);
  if (ask !== undefined) return { side: "ask", depth: ask };
  const bid = bids.findLast((each) => each.price >= price);
  return bid === undefined ? null : { side: "bid", depth: bid };
}
