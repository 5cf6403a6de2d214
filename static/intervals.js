// The chart's intervals: what a reader may choose, and the bars of one that is not a minute. Pure.

import { fixed } from "./format.js";
import { barsOf, mergeBars } from "./state.js";

/** By rising length; `stepSeconds` is 0 where steps differ in length and a hole cannot be told by it. */
export const INTERVALS = [
  { name: "1m", words: "1 minute", stepSeconds: 60 },
  { name: "5m", words: "5 minutes", stepSeconds: 300 },
  { name: "15m", words: "15 minutes", stepSeconds: 900 },
  { name: "1h", words: "1 hour", stepSeconds: 3_600 },
  { name: "4h", words: "4 hours", stepSeconds: 14_400 },
  { name: "1d", words: "1 day", stepSeconds: 86_400 },
  { name: "1w", words: "1 week", stepSeconds: 604_800 },
  { name: "1M", words: "1 month", stepSeconds: 0 },
];
export const MINUTE = INTERVALS[0];
export const EMPTY_CHART = { bars: [], live: null };

/** The interval of this name; a minute for a name that is none. */
export function intervalOf(name) {
  return INTERVALS.find((interval) => interval.name === name) ?? MINUTE;
}

/** The chart after `candles`, oldest first as `/api/ohlcv` gives them: the running one is `live`. */
export function applyCandles(chart, candles) {
  const live = candles.at(-1)?.is_closed === false ? barsOf(candles.slice(-1))[0] : null;
  return { bars: mergeBars(chart.bars, barsOf(candles.filter((candle) => candle.is_closed))), live };
}

/** How far the past has been fetched, as words; empty once it is whole, and where nothing fetches it. */
export function fillingWords(history) {
  if (!history || history.minutes >= history.of) return "";
  return `history ${Math.floor((100 * history.minutes) / history.of)} % fetched`;
}

/** The same at length, for whoever points at it. */
export function fillingTitle(history) {
  if (fillingWords(history) === "") return "";
  const part = `${fixed(history.minutes, 0)} of ${fixed(history.of, 0)} minutes so far`;
  return `The server is fetching the past: ${part}. The chart grows with it.`;
}
