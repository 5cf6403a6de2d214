// The price range inside which the book is known exactly, and texts for what lies outside it. Pure: from a view to
// numbers and texts; panels decide how it looks.

import { fixed } from "./format.js";

/** @import {Instrument, Side, View} from "./types.js" */

export const TOP_LEVELS = 20; // levels a side in a view, and in the metrics of the top
const DEPTH_PART = 10 / 1e4; // "depth within 10 bps" of the mid

/**
 * @typedef {object} SideSpec
 * @property {Side} side
 * @property {"bids" | "asks"} levels
 * @property {"bid_floor" | "ask_ceiling"} bound
 * @property {"down" | "up"} direction
 * @property {string} further
 * @property {1 | -1} sign
 */

/** @type {Record<Side, SideSpec>} */
const SPECS = {
  bid: { side: "bid", levels: "bids", bound: "bid_floor", direction: "down", further: "Lower", sign: -1 },
  ask: { side: "ask", levels: "asks", bound: "ask_ceiling", direction: "up", further: "Higher", sign: 1 },
};
const SIDES = Object.values(SPECS);

/** @typedef {Pick<View, "bids" | "asks" | "window">} Ranged */
/** @typedef {Pick<Instrument, "price_decimals">} Decimals */

/**
 * Return, for each side, the index of the first displayed level that is not known; Infinity where there is none.
 * @param {Ranged | null} view
 * @returns {Record<Side, number>}
 */
export function firstUnknown(view) {
  if (view === null) return { bid: Infinity, ask: Infinity };
  return { bid: knownLevels(view, SPECS.bid), ask: knownLevels(view, SPECS.ask) };
}

/**
 * A full side leaves open what follows it; a wholly known side has nothing after it.
 * @param {Ranged} view
 * @param {SideSpec} spec
 */
function knownLevels(view, { levels, bound }) {
  const { length } = view[levels];
  return length >= TOP_LEVELS || view.window[bound] === null ? Infinity : length;
}

/**
 * Return, for each side, the sentence on where the known range ends; "" where the whole side is known.
 * @param {Pick<View, "window">} view
 * @param {Decimals} instrument
 * @returns {Record<Side, string>}
 */
export function rangeEndText({ window }, { price_decimals: decimals }) {
  /** @param {SideSpec} spec */
  const text = ({ bound, direction, further }) => {
    if (window[bound] === null) return "";
    return `Known ${direction} to ${fixed(window[bound], decimals)} only. ${further} levels may exist.`;
  };
  return { bid: text(SPECS.bid), ask: text(SPECS.ask) };
}

/**
 * Return the text for a book of fewer levels than a view can hold; "" for a full one. `isIncomplete` is false where
 * the side really has no more levels.
 * @param {Ranged & Pick<View, "last_update_id">} view
 */
export function shortBook(view) {
  if (view.last_update_id === 0) return { text: "", isIncomplete: false }; // there is no book yet
  const short = [SPECS.ask, SPECS.bid].filter(({ levels }) => view[levels].length < TOP_LEVELS);
  const isPartial = (/** @type {SideSpec} */ { bound }) => view.window[bound] !== null;
  const texts = short.map((spec) => {
    const { length } = view[spec.levels];
    return isPartial(spec) ? `only ${length} ${spec.side} levels known` : `${spec.side} side has ${length} levels`;
  });
  return { text: texts.join(", "), isIncomplete: short.some(isPartial) };
}

/**
 * Whether the best levels are not all known on both sides, so that sums over them are not known either.
 * @param {Ranged} view
 */
export function isTopIncomplete(view) {
  return Object.values(firstUnknown(view)).some(Number.isFinite);
}

/**
 * Return the sides whose depth within 10 bps is only a lower bound, because the known range ends inside that band.
 * @param {{metrics: Pick<View["metrics"], "depth_10bps_exact" | "mid_price">, window: View["window"]}} view
 * @returns {Side[]}
 */
export function lowerBoundSides({ metrics, window }) {
  const { mid_price: mid, depth_10bps_exact: isExact } = metrics;
  if (isExact || mid === null) return [];
  const reach = mid * DEPTH_PART;
  const cut = SIDES.filter(({ bound, sign }) => {
    const end = window[bound];
    return end !== null && sign * end < sign * (mid + sign * reach);
  });
  // The server calls the depth not exact: when the range does not show on which side, both are lower bounds.
  return (cut.length > 0 ? cut : SIDES).map(({ side }) => side);
}

/**
 * Return the sentence on why the depth within 10 bps is a lower bound; "" where it is exact or not known at all.
 * @param {Parameters<typeof lowerBoundSides>[0]} view
 * @param {Decimals} instrument
 */
export function lowerBoundText(view, { price_decimals: decimals }) {
  const texts = lowerBoundSides(view).map((side) => {
    const { direction, bound } = SPECS[side];
    return `the ${side} side is known only ${direction} to ${fixed(view.window[bound], decimals)}`;
  });
  return texts.length === 0 ? "" : `At least: ${texts.join(", ")}`;
}
