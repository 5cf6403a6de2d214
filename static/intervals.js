// The chart's intervals: which there are, and the bars of one longer than a minute. Pure.

import { fixed } from "./format.js";
import { barsOf, mergeBars } from "./state.js";

/** @import {Bar} from "./state.js" */
/** @import {Candle, HistoryProgress} from "./types.js" */

/** `stepSeconds` is 0 where steps differ in length and gaps cannot be found.
 * @typedef {{name: string, title: string, stepSeconds: number}} Interval
 */

/** Bars of one interval, oldest first; `live` is the running one.
 * @typedef {{bars: Bar[], live: Bar | null}} Chart
 */

/** By rising length.
 * @type {Interval[]}
 */
export const INTERVALS = [
  { name: "1m", title: "1 minute", stepSeconds: 60 },
  { name: "5m", title: "5 minutes", stepSeconds: 300 },
  { name: "15m", title: "15 minutes", stepSeconds: 900 },
  { name: "1h", title: "1 hour", stepSeconds: 3_600 },
  { name: "4h", title: "4 hours", stepSeconds: 14_400 },
  { name: "1d", title: "1 day", stepSeconds: 86_400 },
  { name: "1w", title: "1 week", stepSeconds: 604_800 },
  { name: "1M", title: "1 month", stepSeconds: 0 },
];
export const MINUTE = INTERVALS[0];
/** @type {Chart} */
export const EMPTY_CHART = { bars: [], live: null };

/**
 * Return the interval of this name; a minute for an unknown name.
 * @param {string | null | undefined} name
 */
export function intervalOf(name) {
  return INTERVALS.find((interval) => interval.name === name) ?? MINUTE;
}

/**
 * Return the chart after `candles`, oldest first as `/api/ohlcv` sends them.
 * @param {Chart} chart
 * @param {Candle[]} candles
 * @returns {Chart}
 */
export function applyCandles(chart, candles) {
  const live = candles.at(-1)?.is_closed === false ? barsOf(candles.slice(-1))[0] : null;
  return { bars: mergeBars(chart.bars, barsOf(candles.filter((candle) => candle.is_closed))), live };
}

/**
 * Return how far the history has been loaded; "" once it is complete, and where none is being loaded.
 * @param {HistoryProgress | null} history
 */
export function progressText(history) {
  if (!history || history.minutes >= history.of) return "";
  return `history ${Math.floor((100 * history.minutes) / history.of)} % loaded`;
}

/**
 * Return the same as full sentences.
 * @param {HistoryProgress | null} history
 */
export function progressTitle(history) {
  if (!history || progressText(history) === "") return "";
  const part = `${fixed(history.minutes, 0)} of ${fixed(history.of, 0)} minutes so far`;
  return `The server is loading history: ${part}. The chart grows as it arrives.`;
}
