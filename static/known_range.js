// What lies inside the part of the book that is known exactly, and what to say of the rest. Pure: from a picture to
// numbers and words; how the rest looks is the panels' affair.

import { fixed } from "./format.js";

export const TOP_LEVELS = 20; // what a picture carries, and what the measures of the top are made of
const DEPTH_PART = 10 / 1e4; // "depth within 10 bps" of the mid
const SIDES = [
  { side: "bid", name: "bid", levels: "bids", bound: "bid_floor", way: "down", worse: "below", sign: -1 },
  { side: "ask", name: "ask", levels: "asks", bound: "ask_ceiling", way: "up", worse: "above", sign: 1 },
];

/** Per side the number of the first shown level that is not known; Infinity where there is none. */
export function beyond(picture) {
  return Object.fromEntries(SIDES.map((side) => [side.side, picture === null ? Infinity : endsAt(picture, side)]));
}

// A picture that is full says nothing of what comes after it, and a side known to its end has nothing beyond.
function endsAt(picture, { levels, bound }) {
  const { length } = picture[levels];
  return length >= TOP_LEVELS || picture.window[bound] === null ? Infinity : length;
}

/** Per side what may rest beyond the known part, in words; empty where the whole side is known. */
export function beyondWords({ window }, { price_decimals: decimals }) {
  const words = ({ bound, way, worse }) => {
    const price = fixed(window[bound], decimals);
    return window[bound] === null ? "" : `Known ${way} to ${price} only: levels ${worse} it may exist`;
  };
  return Object.fromEntries(SIDES.map((side) => [side.side, words(side)]));
}

/** A book known to fewer levels than a picture can carry says so; a whole side that is that short is no defect. */
export function shortWords(picture) {
  if (picture.last_update_id === 0) return ""; // there is no book yet
  return [...SIDES]
    .reverse()
    .flatMap(({ name, levels, bound }) => {
      const { length } = picture[levels];
      if (length >= TOP_LEVELS) return [];
      return [picture.window[bound] === null ? `whole ${name} side: ${length}` : `only ${length} ${name} levels known`];
    })
    .join(", ");
}

/** Whether the best levels are not all known on both sides, so that their sums are not either. */
export function isTopShort(picture) {
  return Object.values(beyond(picture)).some(Number.isFinite);
}

/** The sides whose depth within 10 bps is only a lower bound, because the known part ends inside that band. */
export function boundSides({ metrics, window }) {
  if (metrics.depth_10bps_exact || metrics.mid_price === null) return [];
  const reach = metrics.mid_price * DEPTH_PART;
  const cut = SIDES.filter(({ bound, sign }) => {
    return window[bound] !== null && sign * window[bound] < sign * (metrics.mid_price + sign * reach);
  });
  // The server has the last word: where it is not exact, and the window alone does not tell which side, both are not.
  return (cut.length > 0 ? cut : SIDES).map(({ side }) => side);
}

/** Why the depth within 10 bps is a lower bound, as a sentence; empty where it is exact or not known at all. */
export function atLeastWords(picture, { price_decimals: decimals }) {
  const sides = boundSides(picture);
  const words = SIDES.filter(({ side }) => sides.includes(side)).map(({ name, way, bound }) => {
    return `the ${name} side is known only ${way} to ${fixed(picture.window[bound] ?? NaN, decimals)}`;
  });
  return words.length === 0 ? "" : `At least: ${words.join(", ")}`;
}
