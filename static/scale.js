// Prices, quantities and minutes to lengths, rows and points. Pure arithmetic: it knows neither the page nor the
// meaning of what it scales, and gives numbers back for a panel to draw.

/** Running totals of `[price, quantity]` levels, best first. */
export function cumulative(levels) {
  let total = 0;
  return levels.map(([, quantity]) => (total += quantity));
}

/** `value` as a part of `largest`, between 0 and 1. */
export function share(value, largest) {
  if (!(largest > 0) || !(value > 0)) return 0;
  return Math.min(1, value / largest);
}

/** The value below which `part` (0 to 1) of `values` lie, by nearest rank; 0 for none. */
export function percentile(values, part) {
  if (values.length === 0) return 0;
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(part * sorted.length) - 1))];
}

/**
 * How many rows a side fit into `height` pixels and how high each is: as many as `most` while rows stay at least
 * `low` pixels high, then fewer, never below `fewest`; rows never grow beyond `high` pixels.
 */
export function fitRows(height, { most, fewest, low, high }) {
  const half = Math.max(0, height) / 2;
  const count = Math.min(most, Math.max(fewest, Math.floor(half / low)));
  return { count, rowHeight: Math.min(high, Math.max(low, Math.floor(half / count))) };
}

/**
 * Taking every level from the best one to `index`: base quantity, quote cost, average price and distance of that
 * average from `mid` in basis points. Null when there is no such level.
 */
export function sweep(levels, index, mid) {
  if (index < 0 || index >= levels.length) return null;
  let quantity = 0;
  let quote = 0;
  for (const [price, size] of levels.slice(0, index + 1)) {
    quantity += size;
    quote += price * size;
  }
  const average = quote / quantity;
  return { quantity, quote, average, price: levels[index][0], slippage_bps: (Math.abs(average - mid) / mid) * 1e4 };
}

/**
 * Bars with a bare `{time}` in each missing step, so that a chart draws the hole instead of joining over it.
 * `slotsMax` bounds the result: a hole of days costs its older bars, never memory.
 */
export function withGaps(bars, stepSeconds, slotsMax) {
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

/**
 * Values over time as runs of `[x, y]` points inside `width` x `height`: x by `at` (0 to 1), y by the values' own
 * range with one pixel of margin. A null value ends a run, so a hole stays a hole.
 */
export function lineRuns(points, width, height) {
  const known = points.filter(({ value }) => Number.isFinite(value)).map(({ value }) => value);
  if (known.length === 0) return [];
  const low = Math.min(...known);
  const range = Math.max(...known) - low;
  const y = (value) => (range > 0 ? 1 + (1 - (value - low) / range) * (height - 2) : height / 2);
  const runs = [[]];
  for (const { at, value } of points) {
    if (Number.isFinite(value)) runs[runs.length - 1].push([at * width, y(value)]);
    else if (runs[runs.length - 1].length > 0) runs.push([]);
  }
  return runs.filter((run) => run.length > 0);
}
