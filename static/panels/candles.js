// The candle chart: closed bars from the store and the running one, volume below, gaps left open. It draws the bars it
// is given and says why there are none; requesting them is the caller's business.

import { closest, element, find, setAttr, setText, setVisible } from "../dom.js";
import { fixed, quantityColumn, utcMinute, waitText } from "../format.js";
import { INTERVALS, progressText, progressTitle } from "../intervals.js";
import { withGaps } from "../scale.js";
import { continues, sameBar } from "../state.js";
import { lastTrade } from "../trade_list.js";

/** @import * as Charts from "lightweight-charts" */
/** @import {FetchStatus} from "../fetcher.js" */
/** @import {Interval} from "../intervals.js" */
/** @import {PanelModel} from "../page_model.js" */
/** @import {Bar} from "../state.js" */
/** @import {Direction} from "../trade_list.js" */
/** @import {Instrument, Trade} from "../types.js" */

/** @typedef {ReturnType<typeof palette>} Palette */
/** A bar, or the place of a missing one.
 * @typedef {Bar | {time: number}} Slot
 */

const SLOTS_MAX = 60_000; // drawn bars, gaps included
const NEAR_START_BARS = 60; // so close to the first bar in sight, further ones are requested
const BARS_SHOWN_MAX = 150;
const BARS_SHOWN_MIN = 30;
const RIGHT_BARS = 3; // empty room to the right of the running bar
const DAY_S = 86_400;
const BAR_PX = 7; // width of a bar, to choose how many to show at first
/** @type {{key: string, bars: Bar[], last: Bar | null}} */
const NOTHING = Object.freeze({ key: "", bars: [], last: null });

/**
 * Paint into `section` with `charts`, the chart library's module; `onHover()` requests a paint of the legend,
 * `onInterval(name)` is the user's choice, `onNearStart()` asks for older bars.
 * @param {HTMLElement} section
 * @param {typeof Charts} charts
 * @param {object} options
 * @param {() => void} options.onHover
 * @param {(name: string | undefined) => void} options.onInterval
 * @param {() => void} options.onNearStart
 */
export function createCandles(section, charts, { onHover, onInterval, onNearStart }) {
  const box = find(section, ".chart-canvas");
  const drawing = createDrawing(charts, box);
  const nodes = {
    legend: find(section, ".legend"),
    notice: find(section, ".chart-notice"),
    text: find(section, ".chart-text"),
    retry: find(section, ".chart-retry"),
    intervals: find(section, ".intervals"),
    progress: find(section, ".chart-progress"),
    toNow: find(section, ".to-now"),
  };
  const buttons = INTERVALS.map(intervalButton);
  nodes.intervals.append(...buttons);
  nodes.intervals.addEventListener("click", (event) => {
    const button = closest(event, "[data-interval]");
    if (button !== null) onInterval(button.dataset.interval);
  });
  nodes.toNow.addEventListener("click", () => drawing.toNow());
  drawing.chart.timeScale().subscribeVisibleLogicalRangeChange(() => setVisible(nodes.toNow, drawing.isBehind()));
  let painted = NOTHING;
  /** @type {number | null} */
  let hovered = null;
  drawing.chart.subscribeCrosshairMove(({ time }) => {
    hovered = typeof time === "number" ? time : null;
    onHover();
  });

  /** Remove another symbol's bars, which must not appear under the name of a symbol without any. */
  function clear() {
    if (painted !== NOTHING) drawing.start([]);
    painted = NOTHING;
    drawing.markLast(null);
    setText(nodes.legend, "");
  }

  /**
   * @param {Trade[]} trades
   * @param {Bar[]} bars
   * @param {Bar | null} live
   */
  function paintNewest(trades, bars, live) {
    // Not the last bar's close: a server that has just started has no running bar yet.
    const last = lastTrade(trades);
    drawing.markLast(last);
    setAttr(section, "data-last", last?.price);
    setAttr(section, "data-first", bars[0]?.time);
    setAttr(nodes.legend, "data-running", live !== null && barAt(hovered, bars, live) === live);
  }

  return {
    /** @param {PanelModel} model */
    paint({ bars, live, trades, instrument, view, interval }) {
      paintButtons(buttons, interval);
      if (instrument === null || view === null) return clear();
      const key = `${view.symbol} ${interval.name}`;
      const isOther = painted.key !== key;
      if (isOther) drawing.adopt(instrument, interval);
      if (isOther || !continues(painted.bars, bars)) {
        const slots = drawing.start(bars);
        if (isOther || painted.bars.length === 0) drawing.show(slots, box.clientWidth);
        painted = { key, bars, last: bars.at(-1) ?? null };
      }
      painted.last = drawing.append(newerBars(painted.last, bars, live), painted.last);
      painted.bars = bars;
      if (drawing.isNearStart()) onNearStart();
      paintNewest(trades, bars, live);
      paintLegend(nodes.legend, barAt(hovered, bars, live), instrument, interval);
    },
    /**
     * Whether the newest bar as it is drawn does not contain the last price, which is painted more often.
     * @param {PanelModel} model
     */
    isOutrun({ trades, view, live }) {
      const price = lastTrade(trades)?.price;
      const { key, last } = painted;
      if (price === undefined || last === null || live === null || !key.startsWith(`${view?.symbol} `)) return false;
      return price > last.high || price < last.low;
    },
    /**
     * Paint the part that also changes with time: why there is no history, and when the next attempt is.
     * @param {PanelModel} model
     */
    paintNotice({ history, nowMs, bars, progress }) {
      setText(nodes.progress, progressText(progress));
      setAttr(nodes.progress, "title", progressTitle(progress) || null);
      const isWaiting = history.phase === "waiting";
      const isEmpty = bars.length === 0;
      setVisible(nodes.notice, isWaiting || isEmpty);
      setVisible(nodes.retry, isWaiting);
      if (isWaiting) setText(nodes.text, waitingText(history, nowMs, isEmpty));
      else setText(nodes.text, isEmpty ? emptyText(history, progressText(progress)) : "");
    },
  };
}

/**
 * @param {FetchStatus} history
 * @param {number} nowMs
 * @param {boolean} isEmpty
 */
function waitingText({ reason, retryAtMs }, nowMs, isEmpty) {
  const effect = isEmpty ? "No candle history" : "Candle history not updated";
  return `${effect}: ${reason.replace(/\.$/, "")}. Trying again in ${waitText(retryAtMs, nowMs)}.`;
}

/**
 * @param {FetchStatus} history
 * @param {string} progress
 */
function emptyText({ phase }, progress) {
  if (phase !== "ready") return "Loading candles";
  if (progress !== "") return `Waiting for candles: ${progress}`;
  return "No closed candle yet. The first one appears when the current interval ends.";
}

/**
 * Return what the drawing lacks: everything from its last bar on, unless that is still the very same.
 * @param {Bar | null} last
 * @param {Bar[]} bars
 * @param {Bar | null} live
 */
function newerBars(last, bars, live) {
  const newest = bars.at(-1)?.time ?? -Infinity;
  const all = live !== null && live.time > newest ? [...bars, live] : bars; // a closed minute replaces its running bar
  const from = last === null ? 0 : all.findLastIndex((bar) => bar.time < last.time) + 1;
  const newer = all.slice(from);
  return last !== null && newer.length > 0 && sameBar(last, newer[0]) ? newer.slice(1) : newer;
}

/**
 * Return the bar at `time`, or the newest one.
 * @param {number | null} time
 * @param {Bar[]} bars
 * @param {Bar | null} live
 */
function barAt(time, bars, live) {
  const newest = live ?? bars.at(-1) ?? null;
  if (time === null || newest?.time === time) return newest;
  return bars.find((bar) => bar.time === time) ?? newest;
}

/**
 * @param {HTMLElement} node
 * @param {Bar | null} bar
 * @param {Instrument} instrument
 * @param {Interval} interval
 */
function paintLegend(node, bar, { price_decimals, quantity_decimals, base_asset }, { stepSeconds }) {
  if (bar === null) return setText(node, "");
  /** @param {number} value */
  const price = (value) => fixed(value, price_decimals);
  const volume = quantityColumn(bar.volume, Math.min(3, quantity_decimals))(bar.volume);
  // No break within a pair: on two lines each letter stays with its number.
  const pair = (/** @type {string} */ name, /** @type {string} */ text) => `${name}\u00a0${text}`;
  const figures = [pair("O", price(bar.open)), pair("H", price(bar.high)), pair("L", price(bar.low))];
  figures.push(pair("C", price(bar.close)), pair("V", `${volume}\u00a0${base_asset}`));
  const time = utcMinute(bar.time * 1000);
  const shortTime = stepSeconds > 0 && stepSeconds < DAY_S ? time.slice(11) : time.slice(0, 10);
  const missing = bar.missing > 0 ? `  ${bar.missing} min missing` : "";
  setAttr(node, "data-side", bar.close >= bar.open ? "bid" : "ask");
  setAttr(node, "data-low", bar.low);
  setAttr(node, "data-high", bar.high);
  setText(node, `${shortTime}  ${figures.join("  ")}${missing}`);
}

/**
 * @param {HTMLElement[]} buttons
 * @param {Interval} interval
 */
function paintButtons(buttons, { name }) {
  for (const button of buttons) setAttr(button, "aria-pressed", String(button.dataset.interval === name));
}

/** @param {Interval} interval */
function intervalButton({ name, title }) {
  return element("button", { type: "button", class: "interval", "data-interval": name, title }, name);
}

/**
 * @param {typeof Charts} charts
 * @param {HTMLElement} box
 */
function createDrawing(charts, box) {
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
  volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
  let stepSeconds = 0;
  /** @param {Bar[]} bars */
  const slotsOf = (bars) => (stepSeconds > 0 ? withGaps(bars, stepSeconds, SLOTS_MAX) : bars.slice(-SLOTS_MAX));

  return {
    chart,
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
    /** @param {Bar[]} bars */
    start(bars) {
      const slots = slotsOf(bars);
      candles.setData(slots.map(candleOf));
      volume.setData(slots.map((slot) => volumeOf(slot, colour)));
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
    localization: { timeFormatter: timeText, dateFormat: "yyyy-MM-dd" },
  };
}

/** @param {Charts.Time} time */
function timeText(time) {
  return `${utcMinute(Number(time) * 1000)} UTC`;
}
