// The chart's intervals: which there are, and the bars of one longer than a minute. Pure.

import { fixed } from "./format.js";
import { barsOf, mergeBars, sameBar } from "./state.js";
import { tradeBalance } from "./trade_list.js";

/** @import {Bar} from "./state.js" */
/** @import {Candle, HistoryProgress, Trade} from "./types.js" */

/** `stepSeconds` is 0 where steps differ in length and gaps cannot be found.
 * @typedef {{name: string, title: string, stepSeconds: number}} Interval
 */

/** Bars of one interval, oldest first; `live` is the running one.
 * @typedef {{bars: Bar[], live: Bar | null}} Chart
 */

/** All that the server has, by rising length.
 * @type {Interval[]}
 */
export const INTERVALS = [
  { name: "1m", title: "1 minute", stepSeconds: 60 },
  { name: "3m", title: "3 minutes", stepSeconds: 180 },
  { name: "5m", title: "5 minutes", stepSeconds: 300 },
  { name: "15m", title: "15 minutes", stepSeconds: 900 },
  { name: "30m", title: "30 minutes", stepSeconds: 1_800 },
  { name: "1h", title: "1 hour", stepSeconds: 3_600 },
  { name: "2h", title: "2 hours", stepSeconds: 7_200 },
  { name: "4h", title: "4 hours", stepSeconds: 14_400 },
  { name: "6h", title: "6 hours", stepSeconds: 21_600 },
  { name: "8h", title: "8 hours", stepSeconds: 28_800 },
  { name: "12h", title: "12 hours", stepSeconds: 43_200 },
  { name: "1d", title: "1 day", stepSeconds: 86_400 },
  { name: "1w", title: "1 week", stepSeconds: 604_800 },
  { name: "1M", title: "1 month", stepSeconds: 0 },
];
export const MINUTE = INTERVALS[0];
const MONDAY_S = 4 * 86_400; // 1970-01-05: weeks open on Mondays
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
 * Return the chart after a message of its `kline` topic: the running bar, and the newest closed one. Nulls, which come
 * while the server does not know them yet, change nothing.
 * @param {Chart} chart
 * @param {{candle: Candle | null, closed_candle: Candle | null}} message
 * @returns {Chart}
 */
export function applyRunning(chart, { candle, closed_candle: closed }) {
  const bars = closed === null ? chart.bars : mergeBars(chart.bars, barsOf([closed]));
  const live = candle === null ? chart.live : barsOf([candle])[0];
  if (bars === chart.bars && live !== null && chart.live !== null && sameBar(chart.live, live)) return chart;
  return { bars, live };
}

/**
 * Return the chart with closed candles from further back, oldest first.
 * @param {Chart} chart
 * @param {Candle[]} candles
 * @returns {Chart}
 */
export function applyOlder({ bars, live }, candles) {
  return { bars: mergeBars(bars, barsOf(candles)), live };
}

/**
 * Return the second after a bar's last one.
 * @param {number} time the bar's open
 * @param {Interval} interval
 */
function endOf(time, { stepSeconds }) {
  if (stepSeconds > 0) return time + stepSeconds;
  const open = new Date(time * 1000);
  return Date.UTC(open.getUTCFullYear(), open.getUTCMonth() + 1) / 1000;
}

/**
 * Return the open of the bar that a minute belongs to.
 * @param {number} time the minute's open
 * @param {Interval} interval
 */
function openOf(time, { stepSeconds }) {
  if (stepSeconds > 0) return time - ((time - MONDAY_S) % stepSeconds);
  const minute = new Date(time * 1000);
  return Date.UTC(minute.getUTCFullYear(), minute.getUTCMonth()) / 1000;
}

/**
 * Return the chart with its running bar extended by what is known to be newer: the last price must not lie outside it.
 * The bar of a longer interval is requested seldom, the running minute comes with each view; but in a minute that the
 * server has not seen whole that is the exchange's candle, which comes every two seconds. So the kept trades count
 * too. The volume stays that of the bar.
 * @param {Chart} chart
 * @param {Interval} interval
 * @param {{live: Bar | null, trades: Trade[]}} book
 * @returns {Chart}
 */
export function runningChart(chart, interval, { live: minute, trades }) {
  if (chart.live === null) return chart;
  const fromMs = chart.live.time * 1000;
  const endMs = endOf(chart.live.time, interval) * 1000;
  const since = trades.filter(({ time_ms: timeMs }) => timeMs >= fromMs);
  const next = since.findLastIndex(({ time_ms: timeMs }) => timeMs >= endMs) + 1; // newest first
  const newer = [minute, tradedBar(since.slice(next)), tradedBar(since.slice(0, next))];
  return newer.reduce((known, bar) => extended(known, bar, interval), chart);
}

/**
 * Return the chart with a shorter bar added to its running one, or as the begin of the next one.
 * @param {Chart} chart
 * @param {Bar | null} bar
 * @param {Interval} interval
 * @returns {Chart}
 */
function extended(chart, bar, interval) {
  const { bars, live } = chart;
  if (bar === null || live === null) return chart;
  const time = openOf(bar.time, interval);
  if (time < live.time) return chart;
  if (time > live.time) return { bars: mergeBars(bars, [live]), live: { ...bar, time } }; // it has just closed
  const [high, low] = [Math.max(live.high, bar.high), Math.min(live.low, bar.low)];
  return { bars, live: { ...live, high, low, close: bar.close } };
}

/**
 * Return what trades come to, as a bar at the newest one's time; null without any.
 * @param {Trade[]} trades newest first
 * @returns {Bar | null}
 */
function tradedBar(trades) {
  if (trades.length === 0) return null;
  const prices = trades.map(({ price }) => price);
  const [close, open] = [prices[0], prices[prices.length - 1]];
  const bar = { time: trades[0].time_ms / 1000, open, high: Math.max(...prices), low: Math.min(...prices), close };
  const { bought, sold } = tradeBalance(trades);
  const quoteVolume = trades.reduce((sum, { price, quantity }) => sum + price * quantity, 0);
  const volumes = { volume: bought + sold, quoteVolume, takerBuyVolume: bought };
  return { ...bar, ...volumes, missing: 0, source: "live", isReconciled: false };
}

/**
 * Return the chart that a display held at `atMs` shows: as it was then, and from `newest` the bars that it lacks and
 * that had closed by then.
 * @param {Chart} held
 * @param {Chart} newest
 * @param {Interval} interval
 * @param {number} atMs
 * @returns {Chart}
 */
export function heldChart(held, newest, interval, atMs) {
  if (newest.bars === held.bars) return held;
  const known = new Set(held.bars.map(({ time }) => time));
  const others = newest.bars.filter(({ time }) => !known.has(time) && endOf(time, interval) * 1000 <= atMs);
  return { bars: mergeBars(held.bars, others), live: held.live };
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
