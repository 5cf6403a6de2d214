// What the chart draws over and under the candles: moving averages, VWAP, delta and its running sum (CVD), each fed bar
// by bar. A value is null where it is not known, so that no line is drawn across a gap. Pure.

/** @import {Bar} from "./state.js" */

const DAY_S = 86_400;

/** A formula: `step` changes the state by one bar and returns the value there.
 * @template State
 * @typedef {{state: State, step: (state: State, bar: Bar) => number | null}} Formula
 */

/** A formula with what it has been fed so far. */
export class Indicator {
  #state;
  #step;

  /** @param {Formula<any>} formula */
  constructor({ state, step }) {
    this.#state = structuredClone(state);
    this.#step = step;
  }

  /**
   * Return the value at the next bar.
   * @param {Bar} bar
   */
  next(bar) {
    return this.#step(this.#state, bar);
  }

  /**
   * Return the value at a bar that is still running: it changes, so it is not kept.
   * @param {Bar} bar
   */
  peek(bar) {
    return this.#step(structuredClone(this.#state), bar);
  }
}

/** The open of the bar before, -1 for none: what follows it without a gap is known by it.
 * @typedef {{before: number}} Sequence
 */

/**
 * Whether `bar` follows the one before it without a gap; notes it as the one before the next. Steps of 0 s differ in
 * length: gaps cannot be found there.
 * @param {Sequence} sequence
 * @param {Bar} bar
 * @param {number} stepSeconds
 */
function follows(sequence, { time }, stepSeconds) {
  const { before } = sequence;
  sequence.before = time;
  return before >= 0 && (stepSeconds === 0 || time - before === stepSeconds);
}

/**
 * The mean close of `length` bars, from the first bar that has so many before it without a gap.
 * @param {number} length
 * @param {number} stepSeconds
 * @returns {Formula<Sequence & {closes: number[], sum: number}>}
 */
export function simpleAverage(length, stepSeconds) {
  return {
    state: { before: -1, closes: [], sum: 0 },
    step(state, bar) {
      if (!follows(state, bar, stepSeconds)) [state.closes, state.sum] = [[], 0];
      state.closes.push(bar.close);
      state.sum += bar.close;
      if (state.closes.length > length) state.sum -= state.closes.shift() ?? 0;
      return state.closes.length === length ? state.sum / length : null;
    },
  };
}

/**
 * The exponential average of closes: each weighs 2 / (`length` + 1). It begins with the mean of the first `length` bars
 * after a gap.
 * @param {number} length
 * @param {number} stepSeconds
 * @returns {Formula<Sequence & {run: number, value: number}>}
 */
export function exponentialAverage(length, stepSeconds) {
  const weight = 2 / (length + 1);
  return {
    state: { before: -1, run: 0, value: 0 },
    step(state, bar) {
      if (!follows(state, bar, stepSeconds)) [state.run, state.value] = [0, 0];
      state.run += 1;
      if (state.run <= length) state.value += bar.close / length;
      else state.value += weight * (bar.close - state.value);
      return state.run >= length ? state.value : null;
    },
  };
}

/**
 * The volume-weighted average price since 00:00 UTC of each day, of an interval of less than a day. Of a day whose
 * beginning is not known, or from a gap on, it is not known: trades would be missing in it.
 * @param {number} stepSeconds
 * @returns {Formula<Sequence & {isWhole: boolean, quote: number, base: number}>}
 */
export function dayVwap(stepSeconds) {
  return {
    state: { before: -1, isWhole: false, quote: 0, base: 0 },
    step(state, bar) {
      const isNext = follows(state, bar, stepSeconds);
      if (bar.time % DAY_S === 0) Object.assign(state, { isWhole: true, quote: 0, base: 0 });
      else if (!isNext) state.isWhole = false;
      if (bar.missing > 0) state.isWhole = false;
      state.quote += bar.quoteVolume;
      state.base += bar.volume;
      return state.isWhole && state.base > 0 ? state.quote / state.base : null;
    },
  };
}

/**
 * What takers bought less what they sold in a bar, in base quantity; not known where minutes of it are missing.
 * @returns {Formula<Record<string, never>>}
 */
export function delta() {
  return { state: {}, step: (_, bar) => deltaOf(bar) };
}

/** @param {Pick<Bar, "takerBuyVolume" | "volume" | "missing">} bar */
export function deltaOf({ takerBuyVolume, volume, missing }) {
  return missing > 0 ? null : 2 * takerBuyVolume - volume;
}

/**
 * The running sum of the deltas since 00:00 UTC of each day; of a day whose beginning is not known, or from a gap on,
 * it is not known. For intervals of a day and more it runs on from day to day, and begins at 0 with the first bar that
 * is known and after each gap.
 * @param {number} stepSeconds
 * @returns {Formula<Sequence & {isWhole: boolean, sum: number}>}
 */
export function cumulativeDelta(stepSeconds) {
  const isOfDay = stepSeconds > 0 && stepSeconds < DAY_S;
  return {
    state: { before: -1, isWhole: false, sum: 0 },
    step(state, bar) {
      const isNext = follows(state, bar, stepSeconds);
      const value = deltaOf(bar);
      if (isOfDay ? bar.time % DAY_S === 0 : !isNext) Object.assign(state, { isWhole: true, sum: 0 });
      else if (!isNext) state.isWhole = false;
      if (value === null) state.isWhole = false;
      state.sum += value ?? 0;
      if (!isOfDay && value === null) state.before = -1; // the next one begins anew
      return state.isWhole ? state.sum : null;
    },
  };
}

/**
 * Whether the sums of the newest bar's day are known from its beginning: the bars reach back to 00:00 UTC.
 * @param {Bar[]} bars oldest first
 */
export function reachesDayStart(bars) {
  const last = bars.at(-1);
  return last === undefined || bars[0].time <= last.time - (last.time % DAY_S);
}
