// The drawing of the candle chart, over the chart library: bars, volume, the line of the current price, and where the
// user has scrolled to. It draws the bars it is given; which ones, and what is written beside them, the panel decides.

import { fixed } from "../../format.js";
import { withGaps } from "../../scale.js";
import { axisText, cursorText, zoneFor } from "../../time_zone.js";

/** @import * as Charts from "lightweight-charts" */
/** @import {Interval} from "../../intervals.js" */
/** @import {Bar} from "../../state.js" */
/** @import {Direction} from "../../trade_list.js" */
/** @import {CandleSource, Instrument} from "../../types.js" */

/** @typedef {ReturnType<typeof palette>} Palette */
/** A bar, or the place of a missing one.
 * @typedef {Bar | {time: number}} Slot
 */

const SLOTS_MAX = 60_000; // drawn bars, gaps included
const NEAR_START_BARS = 60; // so close to the first bar in sight, further ones are requested
const BARS_SHOWN_MAX = 150;
const BARS_SHOWN_MIN = 30;
const RIGHT_BARS = 3; // empty room to the right of the running bar
const SOURCE_SHARE = 0.012; // height of the marks of the bars' sources
const INCOMPLETE_SHARE = 0.5;
const BAR_PX = 7; // width of a bar, to choose how many to show at first

/**
 * Create the chart in `box` with `charts`, the library's module.
 * @param {typeof Charts} charts
 * @param {HTMLElement} box
 */
export function createDrawing(charts, box) {
  const colour = palette(box);
  const chart = charts.createChart(box, chartOptions(charts, colour));
  const candles = chart.addSeries(charts.CandlestickSeries, {
    upColor: colour.bid,
    downColor: colour.ask,
    wickUpColor: colour.bid,
    wickDownColor: colour.ask,
    borderVisible: false,
    // Its own label and line are those of the last bar that is visible, which is an old one when scrolled back.
    lastValueVisible: false,
    priceLineVisible: false,
  });
  const lastLine = candles.createPriceLine({ price: 0, lineWidth: 1, lineStyle: charts.LineStyle.Dotted });
  const volume = chart.addSeries(charts.HistogramSeries, {
    priceScaleId: "volume",
    priceFormat: { type: "volume" },
    lastValueVisible: false,
    priceLineVisible: false,
  });
  candles.priceScale().applyOptions({ scaleMargins: { top: 0.06, bottom: 0.24 } });
  volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0.02 } });
  const [gaps, sources] = [markSeries("gaps", 0), markSeries("sources", 1 - SOURCE_SHARE)];
  let stepSeconds = 0;
  let zone = "UTC";

  /**
   * Add a series of marks, each as high as its share of the chart.
   * @param {string} name
   * @param {number} top
   */
  function markSeries(name, top) {
    const options = { priceScaleId: name, lastValueVisible: false, priceLineVisible: false };
    const series = chart.addSeries(charts.HistogramSeries, options);
    series.priceScale().applyOptions({ scaleMargins: { top, bottom: 0 }, visible: false });
    return series;
  }

  /** @param {Bar[]} bars */
  const slotsOf = (bars) => (stepSeconds > 0 ? withGaps(bars, stepSeconds, SLOTS_MAX) : bars.slice(-SLOTS_MAX));

  return {
    chart,
    colour,
    /**
     * @param {Instrument} instrument
     * @param {Interval} interval
     */
    adopt({ price_decimals, tick_size }, interval) {
      stepSeconds = interval.stepSeconds;
      /** @param {number} price */
      const formatter = (price) => fixed(price, price_decimals);
      const minMove = tick_size > 0 ? tick_size : 10 ** -price_decimals;
      candles.applyOptions({ priceFormat: { type: "custom", formatter, minMove } });
    },
    /**
     * Write times in this zone.
     * @param {string} name
     */
    setZone(name) {
      const next = zoneFor(name, stepSeconds);
      if (next === zone) return;
      zone = next;
      chart.applyOptions(zoneOptions(zone));
    },
    /** @param {Bar[]} bars */
    start(bars) {
      const slots = slotsOf(bars);
      candles.setData(slots.map(candleOf));
      volume.setData(slots.map((slot) => volumeOf(slot, colour)));
      gaps.setData(slots.map((slot) => gapOf(slot, colour)));
      sources.setData(slots.map((slot) => sourceOf(slot, colour)));
      return slots.length;
    },
    /**
     * Mark the current price, wherever the chart is scrolled to.
     * @param {{price: number, direction: Direction} | null} last
     */
    markLast(last) {
      const isVisible = last !== null;
      const price = last?.price ?? 0;
      const color = last?.direction === -1 ? colour.ask : colour.bid;
      const known = lastLine.options();
      if (known.price === price && known.color === color && known.lineVisible === isVisible) return; // it would redraw
      lastLine.applyOptions({ price, color, lineVisible: isVisible, axisLabelVisible: isVisible });
    },
    /** Whether the first bar is in sight, or nearly. */
    isNearStart() {
      const range = chart.timeScale().getVisibleLogicalRange();
      return range !== null && range.from < NEAR_START_BARS;
    },
    /** Whether the newest bar is out of sight because the user has scrolled back. */
    isBehind() {
      return chart.timeScale().scrollPosition() < -1;
    },
    /**
     * Point at a bar, as the mouse does, and bring it into sight; null points at none.
     * @param {Bar | null} bar
     */
    point(bar) {
      if (bar === null) return chart.clearCrosshairPosition();
      const scale = chart.timeScale();
      const time = /** @type {Charts.UTCTimestamp} */ (bar.time);
      const x = scale.timeToCoordinate(time) ?? 0;
      const beyond = Math.min(0, x) + Math.max(0, x - scale.width());
      const bars = beyond / scale.options().barSpacing;
      if (bars !== 0) scale.scrollToPosition(scale.scrollPosition() + bars + Math.sign(bars), false);
      chart.setCrosshairPosition(bar.close, time, candles);
    },
    toNow() {
      chart.timeScale().scrollToPosition(RIGHT_BARS, false);
    },
    /**
     * @param {number} slots
     * @param {number} width
     */
    show(slots, width) {
      const shown = Math.min(BARS_SHOWN_MAX, Math.max(BARS_SHOWN_MIN, Math.floor(width / BAR_PX)));
      chart.timeScale().setVisibleLogicalRange({ from: slots - shown, to: slots + RIGHT_BARS });
    },
    /**
     * @param {Bar[]} bars
     * @param {Bar | null} last
     */
    append(bars, last) {
      const gap = last !== null && bars.length > 0 ? slotsOf([last, bars[0]]).slice(1, -1) : [];
      for (const slot of [...gap, ...bars]) {
        candles.update(candleOf(slot));
        volume.update(volumeOf(slot, colour));
        gaps.update(gapOf(slot, colour));
        sources.update(sourceOf(slot, colour));
      }
      return bars.at(-1) ?? last;
    },
  };
}

/**
 * Return a slot as the library's; its times are seconds since the epoch, which it brands as a type of their own.
 * @param {Slot} slot
 * @returns {Charts.CandlestickData | Charts.WhitespaceData}
 */
function candleOf(slot) {
  return /** @type {(Bar | {time: number}) & {time: Charts.UTCTimestamp}} */ (slot);
}

/**
 * @param {Slot} slot
 * @param {Palette} colour
 * @returns {Charts.HistogramData | Charts.WhitespaceData}
 */
function volumeOf(slot, colour) {
  const time = /** @type {Charts.UTCTimestamp} */ (slot.time);
  if (!("open" in slot)) return { time };
  return { time, value: slot.volume, color: slot.close >= slot.open ? colour.bidVolume : colour.askVolume };
}

/**
 * Return the mark of a missing bar, and the fainter one of a bar with missing minutes.
 * @param {Slot} slot
 * @param {Palette} colour
 * @returns {Charts.HistogramData | Charts.WhitespaceData}
 */
function gapOf(slot, colour) {
  const time = /** @type {Charts.UTCTimestamp} */ (slot.time);
  if ("open" in slot && slot.missing === 0) return { time };
  return { time, value: "open" in slot ? INCOMPLETE_SHARE : 1, color: colour.gap };
}

/**
 * Return the mark of where a bar comes from.
 * @param {Slot} slot
 * @param {Palette} colour
 * @returns {Charts.HistogramData | Charts.WhitespaceData}
 */
function sourceOf(slot, colour) {
  const time = /** @type {Charts.UTCTimestamp} */ (slot.time);
  return "open" in slot ? { time, value: 1, color: colour.sources[slot.source] } : { time };
}

/** @param {string} zone */
function zoneOptions(zone) {
  return {
    localization: { timeFormatter: (/** @type {Charts.Time} */ time) => cursorText(Number(time), zone) },
    timeScale: {
      tickMarkFormatter: (/** @type {Charts.Time} */ time, /** @type {number} */ kind) =>
        axisText(Number(time), kind, zone),
    },
  };
}

/**
 * Read the style sheet's colours: the chart draws on a canvas and does not inherit them.
 * @param {HTMLElement} box
 */
function palette(box) {
  const style = getComputedStyle(box);
  /** @param {string} name */
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    text: read("--muted"),
    line: read("--line"),
    faint: read("--grid"),
    cursor: read("--cursor"),
    bid: read("--bid"),
    ask: read("--ask"),
    bidVolume: read("--bid-volume"),
    askVolume: read("--ask-volume"),
    gap: read("--gap-mark"),
    /** @type {Record<CandleSource, string>} */
    sources: {
      live: read("--source-live"),
      repaired: read("--source-repaired"),
      exchange: read("--source-exchange"),
      mixed: read("--source-mixed"),
    },
    font: style.fontFamily,
  };
}

/**
 * @param {typeof Charts} charts
 * @param {Palette} colour
 * @returns {Charts.DeepPartial<Charts.TimeChartOptions>}
 */
function chartOptions(charts, colour) {
  return {
    autoSize: true,
    layout: {
      background: { type: charts.ColorType.Solid, color: "transparent" },
      textColor: colour.text,
      fontSize: 11,
      fontFamily: colour.font,
      panes: { separatorColor: colour.line, separatorHoverColor: colour.cursor },
      attributionLogo: false, // its inline style would violate the page's content policy
    },
    grid: { vertLines: { color: colour.faint }, horzLines: { color: colour.faint } },
    crosshair: {
      mode: charts.CrosshairMode.Normal,
      vertLine: { color: colour.cursor, labelBackgroundColor: colour.line },
      horzLine: { color: colour.cursor, labelBackgroundColor: colour.line },
    },
    handleScroll: { vertTouchDrag: false }, // a finger that moves up or down scrolls the page
    rightPriceScale: { borderColor: colour.line, minimumWidth: 74, entireTextOnly: true },
    timeScale: {
      borderColor: colour.line,
      timeVisible: true,
      secondsVisible: false,
      rightOffset: RIGHT_BARS,
      minBarSpacing: 1,
    },
    localization: {
      dateFormat: "yyyy-MM-dd",
      timeFormatter: (/** @type {Charts.Time} */ time) => cursorText(Number(time), "UTC"),
    },
  };
}
