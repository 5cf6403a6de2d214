// Prices, quantities and minutes to lengths, rows and points. Pure arithmetic: it knows neither the page nor the
// meaning of what it scales, and returns numbers for a panel to draw.

/** @import {Level} from "./types.js" */

/**
 * Return the running totals of quantity, best level first.
 * @param {Level[]} levels
 */
export function cumulative(levels) {
  let total = 0;
  return levels.map(([, quantity]) => {
    total += quantity;
    return total;
  });
}

/**
 * Return `value` as a part of `largest`, between 0 and 1.
 * @param {number} value
 * @param {number} largest
 */
export function share(value, largest) {
  if (!(largest > 0) || !(value > 0)) return 0;
  return Math.min(1, value / largest);
}

/**
 * Return the value that `part` (0 to 1) of `values` do not exceed, by nearest rank; 0 for none.
 * @param {number[]} values
 * @param {number} part
 */
export function percentile(values, part) {
  if (values.length === 0) return 0;
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(part * sorted.length) - 1))];
}

/** Limits of a ladder: rows a side, and the height of one in pixels.
 * @typedef {{most: number, fewest: number, low: number, high: number}} RowLimits
 */

/**
 * Return how many rows a side fit into `height` pixels, and their height: `most` rows while they stay at least `low`
 * pixels high, then fewer, never below `fewest`; rows never grow beyond `high` pixels.
 * @param {number} height
 * @param {RowLimits} limits
 */
export function fitRows(height, { most, fewest, low, high }) {
  const half = Math.max(0, height) / 2;
  const count = Math.min(most, Math.max(fewest, Math.floor(half / low)));
  return { count, rowHeight: Math.min(high, Math.max(low, Math.floor(half / count))) };
}

/**
 * Return the bars with a bare `{time}` in each missing step, so that a chart leaves the gap open. `slotsMax` bounds
 * the result: a gap of days drops older bars.
 * @template {{time: number}} Bar
 * @param {Bar[]} bars
 * @param {number} stepSeconds
 * @param {number} slotsMax
 */
export function withGaps(bars, stepSeconds, slotsMax) {
  /** @type {(Bar | {time: number})[]} */
  const slots = [];
  for (let at = bars.length - 1; at >= 0 && slots.length < slotsMax; at -= 1) {
    const bar = bars[at];
    const newer = slots.length === 0 ? bar.time + stepSeconds : slots[slots.length - 1].time;
    for (let time = newer - stepSeconds; time > bar.time && slots.length < slotsMax; time -= stepSeconds) {
      slots.push({ time });
    }
    if (slots.length < slotsMax) slots.push(bar);
  }
  return slots.reverse();
}

/** A value at a place from 0 to 1.
 * @typedef {{at: number, value: number | null}} Point
 */

/**
 * Return values over time as runs of `[x, y]` inside `width` x `height`: x by `at`, y by the values' own range with
 * one pixel of margin. A null value ends a run, so that a gap stays a gap.
 * @param {Point[]} points
 * @param {number} width
 * @param {number} height
 */
export function lineRuns(points, width, height) {
  const known = points.flatMap(({ value }) => (value !== null && Number.isFinite(value) ? [value] : []));
  if (known.length === 0) return [];
  const low = Math.min(...known);
  const range = Math.max(...known) - low;
  /** @param {number} value */
  const y = (value) => (range > 0 ? 1 + (1 - (value - low) / range) * (height - 2) : height / 2);
  /** @type {[number, number][][]} */
  const runs = [[]];
  for (const { at, value } of points) {
    const run = runs[runs.length - 1];
    if (value !== null && Number.isFinite(value)) run.push([at * width, y(value)]);
    else if (run.length > 0) runs.push([]);
  }
  return runs.filter((run) => run.length > 0);
}
