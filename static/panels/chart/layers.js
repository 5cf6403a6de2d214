// The layers over and under the candles: moving averages and VWAP on the prices, delta and CVD in panes of their own.
// Each keeps its values by bar, so that the legend reads what is drawn. It draws what it is fed and chooses nothing.

import { fixed, quantityColumn, UNKNOWN } from "../../format.js";
import { cumulativeDelta, dayVwap, delta, exponentialAverage, Indicator, simpleAverage } from "../../indicators.js";
import { sameBar } from "../../state.js";

/** @import * as Charts from "lightweight-charts" */
/** @import {Palette} from "./drawing.js" */
/** @import {Formula} from "../../indicators.js" */
/** @import {Bar} from "../../state.js" */
/** @import {Instrument} from "../../types.js" */

const DAY_S = 86_400;
const PANE_SHARE = 0.22; // height of a pane beside that of the prices

/** `kind` is how it is drawn, `isOfDay` that there is none for intervals of a day and more.
 * @typedef {object} Layer
 * @property {string} name
 * @property {string} title
 * @property {string} meaning
 * @property {"price" | "delta" | "sum"} kind
 * @property {boolean} isOfDay
 * @property {(stepSeconds: number) => Formula<any>} formula
 */

/** All that there are, in the order in which they are drawn.
 * @type {Layer[]}
 */
export const LAYERS = [
  average("ma20", "MA 20", "The mean close of 20 bars", (step) => simpleAverage(20, step)),
  average("ma50", "MA 50", "The mean close of 50 bars", (step) => simpleAverage(50, step)),
  average("ema20", "EMA 20", "The exponential average of closes over 20 bars", (step) => exponentialAverage(20, step)),
  {
    ...average("vwap", "VWAP", "The volume-weighted average price since 00:00 UTC", dayVwap),
    isOfDay: true,
  },
  {
    ...average("delta", "Delta", "What takers bought less what they sold, in each bar", delta),
    kind: "delta",
  },
  {
    ...average(
      "cvd",
      "CVD",
      "The running sum of the deltas since 00:00 UTC; of days, of all bars shown",
      cumulativeDelta,
    ),
    kind: "sum",
  },
];

/**
 * @param {string} name
 * @param {string} title
 * @param {string} meaning
 * @param {Layer["formula"]} formula
 * @returns {Layer}
 */
function average(name, title, meaning, formula) {
  return { name, title, meaning, kind: "price", isOfDay: false, formula };
}

/**
 * Whether one of these layers is a sum over the day, which needs the day's first bars.
 * @param {string[]} names
 * @param {number} stepSeconds 0 for months
 */
export function needsDay(names, stepSeconds) {
  return stepSeconds > 0 && stepSeconds < DAY_S && (names.includes("vwap") || names.includes("cvd"));
}

/**
 * Whether a layer exists for bars of such a step.
 * @param {Layer} layer
 * @param {number} stepSeconds 0 for months
 */
export function isFor({ isOfDay }, stepSeconds) {
  return !isOfDay || (stepSeconds > 0 && stepSeconds < DAY_S);
}

/** A layer that is drawn, its values by the bars it was fed, and the one of the running bar.
 * @typedef {object} Drawn
 * @property {Layer} layer
 * @property {Charts.ISeriesApi<"Line" | "Histogram">} series
 * @property {Indicator} indicator
 * @property {(number | null)[]} values
 * @property {number | null} live
 */

/**
 * Create the layers on `chart`, none drawn yet.
 * @param {typeof Charts} charts
 * @param {Charts.IChartApi} chart
 * @param {Palette} colour
 */
export function createLayers(charts, chart, colour) {
  /** @type {Drawn[]} */
  let drawn = [];
  const style = getComputedStyle(chart.chartElement());
  const colours = Object.fromEntries(
    LAYERS.map(({ name }) => [name, style.getPropertyValue(`--layer-${name}`).trim()]),
  );
  /** @type {Bar[]} */
  let fed = [];
  /** @type {Bar | null} */
  let running = null;
  let painted = "";
  let step = 0;

  /**
   * @param {Layer} layer
   * @param {number} pane
   * @param {Instrument} instrument
   * @param {number} stepSeconds
   * @returns {Drawn}
   */
  function create(layer, pane, instrument, stepSeconds) {
    const { price_decimals, quantity_decimals } = instrument;
    const isPrice = layer.kind === "price";
    const minMove = isPrice ? 10 ** -price_decimals : 10 ** -Math.min(8, quantity_decimals);
    /** @param {number} value */
    const formatter = (value) => (isPrice ? fixed(value, price_decimals) : signedQuantity(value, quantity_decimals));
    const common = { priceLineVisible: false, lastValueVisible: false };
    const options = { ...common, priceFormat: { type: /** @type {const} */ ("custom"), formatter, minMove } };
    // The candles alone choose the range of prices: a far average would press them flat.
    const range = isPrice ? { autoscaleInfoProvider: () => null } : {};
    const line = { lineWidth: /** @type {const} */ (1), crosshairMarkerVisible: false, ...options, ...range };
    const series =
      layer.kind === "delta"
        ? chart.addSeries(charts.HistogramSeries, options, pane)
        : chart.addSeries(charts.LineSeries, { ...line, color: colours[layer.name] }, pane);
    return { layer, series, indicator: new Indicator(layer.formula(stepSeconds)), values: [], live: null };
  }

  /**
   * @param {Layer} layer
   * @param {number} time
   * @param {number | null} value
   * @param {boolean} isLast whether a gap follows: the library draws a line across what is not known
   */
  function pointOf({ name, kind }, time, value, isLast) {
    const at = /** @type {Charts.UTCTimestamp} */ (time);
    if (value === null) return { time: at };
    if (kind === "delta") return { time: at, value, color: value < 0 ? colour.ask : colour.bid };
    return { time: at, value, color: isLast ? "transparent" : colours[name] };
  }

  /** @param {Bar[]} bars */
  function feedAll(bars) {
    for (const one of drawn) {
      one.indicator = new Indicator(one.layer.formula(step));
      const values = bars.map((bar) => one.indicator.next(bar));
      /** @param {number} at */
      const isLast = (at) => at + 1 < bars.length && (values[at + 1] === null || !joins(bars[at], bars[at + 1]));
      one.values = values;
      one.series.setData(bars.map(({ time }, at) => pointOf(one.layer, time, values[at], isLast(at))));
    }
    running = null;
  }

  /**
   * Whether a bar follows another without a gap, as far as that can be found.
   * @param {Bar} before
   * @param {Bar} bar
   */
  const joins = (before, bar) => step === 0 || bar.time - before.time === step;

  /**
   * Feed the bars that are new, where each follows the one before it.
   * @param {Bar[]} bars
   */
  function feedMore(bars) {
    for (let at = fed.length; at < bars.length; at += 1) {
      for (const one of drawn) {
        const value = one.indicator.next(bars[at]);
        one.values.push(value);
        one.series.update(pointOf(one.layer, bars[at].time, value, false));
      }
    }
  }

  /**
   * @param {Bar | undefined} last
   * @param {Bar | null} live
   */
  function paintRunning(last, live) {
    if (live === running) return;
    running = live;
    for (const one of drawn) {
      one.live = live === null ? null : one.indicator.peek(live);
      if (live === null || (last !== undefined && !joins(last, live))) continue;
      one.series.update(pointOf(one.layer, live.time, one.live, false));
    }
  }

  /**
   * Whether these bars are those that were fed, and others that follow them without a gap and with whole minutes.
   * @param {Bar[]} bars
   */
  function goesOn(bars) {
    if (bars === fed) return true;
    if (fed.length === 0 || bars.length < fed.length) return false;
    const last = fed.length - 1; // may be made anew of the same trades at each look
    if (!fed.every((bar, at) => bar === bars[at] || (at === last && sameBar(bar, bars[at])))) return false;
    return bars.slice(fed.length).every((bar, at) => bar.missing === 0 && joins(bars[fed.length + at - 1], bar));
  }

  return {
    /**
     * Draw the layers of these names, in place of others, for bars of this key.
     * @param {string[]} names
     * @param {string} key
     * @param {Instrument} instrument
     * @param {number} stepSeconds
     */
    choose(names, key, instrument, stepSeconds) {
      const wanted = LAYERS.filter((layer) => names.includes(layer.name) && isFor(layer, stepSeconds));
      const next = `${key} ${wanted.map(({ name }) => name).join()}`;
      if (next === painted) return;
      painted = next;
      for (const { series } of drawn) chart.removeSeries(series);
      let panes = 1;
      drawn = wanted.map((layer) => {
        const pane = layer.kind === "price" ? 0 : panes;
        if (pane > 0) panes += 1;
        return create(layer, pane, instrument, stepSeconds);
      });
      chart.panes().forEach((pane, at) => {
        pane.setStretchFactor(at === 0 ? 1 : PANE_SHARE);
      });
      step = stepSeconds;
      [fed, running] = [[], null];
    },
    /**
     * @param {Bar[]} bars
     * @param {Bar | null} live
     */
    paint(bars, live) {
      if (drawn.length === 0) return;
      if (goesOn(bars)) feedMore(bars);
      else feedAll(bars);
      fed = bars;
      const last = bars.at(-1);
      paintRunning(last, live !== null && live.time > (last?.time ?? -Infinity) ? live : null);
    },
    /**
     * Return what the layers read at a bar: its title, its text, and its colour's name.
     * @param {Bar} bar
     * @param {Instrument} instrument
     */
    read({ time }, { price_decimals, quantity_decimals }) {
      const at = indexOf(fed, time);
      return drawn.map(({ layer, values, live }) => {
        const value = at < 0 ? live : values[at];
        if (value === null || value === undefined) return { name: layer.name, title: layer.title, text: UNKNOWN };
        const isPrice = layer.kind === "price";
        const text = isPrice ? fixed(value, price_decimals) : signedQuantity(value, quantity_decimals);
        return { name: layer.name, title: layer.title, text };
      });
    },
  };
}

/**
 * Return the place of the bar at `time` among bars by rising time; -1 for none.
 * @param {Bar[]} bars
 * @param {number} time
 */
function indexOf(bars, time) {
  let [low, high] = [0, bars.length - 1];
  while (low <= high) {
    const at = (low + high) >> 1;
    if (bars[at].time === time) return at;
    if (bars[at].time < time) low = at + 1;
    else high = at - 1;
  }
  return -1;
}

/**
 * @param {number} value
 * @param {number} decimals
 */
function signedQuantity(value, decimals) {
  const text = quantityColumn(Math.abs(value), Math.min(3, decimals))(value);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}
