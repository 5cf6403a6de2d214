// The candle chart: closed bars from the store and the running one, volume below, holes left open.
// It draws the bars it is given and says in words why there are none; fetching them is not its business.

import { attribute, element, show, write } from "../dom.js";
import { fixed, quantityColumn, utcMinute } from "../format.js";
import { fillingTitle, fillingWords, INTERVALS } from "../intervals.js";
import { withGaps } from "../scale.js";
import { continues, sameBar } from "../state.js";

const SLOTS_MAX = 2_000; // drawn bars, holes included
const BARS_SHOWN_MAX = 150;
const BARS_SHOWN_MIN = 30;
const RIGHT_BARS = 3; // empty room to the right of the live bar
const DAY_S = 86_400;
const BAR_PX = 7; // room a bar wants, to choose how many to show at first
const NOTHING = Object.freeze({ key: "", bars: [], last: null });

/**
 * Paints into `section` with `charts`, the chart library's module; `onHover()` asks for a paint of the legend,
 * `onInterval(name)` is the reader's choice.
 */
export function createCandles(section, charts, { onHover, onInterval }) {
  const box = section.querySelector(".chart-canvas");
  const drawing = createDrawing(charts, box);
  const nodes = {
    legend: section.querySelector(".legend"),
    trouble: section.querySelector(".chart-trouble"),
    words: section.querySelector(".chart-words"),
    retry: section.querySelector(".chart-retry"),
    intervals: section.querySelector(".intervals"),
    filling: section.querySelector(".chart-filling"),
  };
  nodes.intervals.append(...INTERVALS.map(intervalButton));
  nodes.intervals.addEventListener("click", (event) => {
    const button = event.target.closest("[data-interval]");
    if (button !== null) onInterval(button.dataset.interval);
  });
  let painted = NOTHING;
  let hovered = null;
  drawing.chart.subscribeCrosshairMove((event) => {
    hovered = event.time ?? null;
    onHover();
  });

  // Another symbol's bars would stand for those of a symbol that has none.
  function clear() {
    if (painted !== NOTHING) drawing.start([]);
    painted = NOTHING;
    write(nodes.legend, "");
  }

  return {
    paint(view) {
      const { bars, live, instrument, picture, interval } = view;
      for (const button of nodes.intervals.children) {
        attribute(button, "aria-pressed", String(button.dataset.interval === interval.name));
      }
      if (instrument === null) return clear();
      const key = `${picture.symbol} ${interval.name}`;
      if (painted.key !== key) drawing.adopt(instrument, interval);
      if (painted.key !== key || !continues(painted.bars, bars)) {
        const slots = drawing.start(bars);
        if (painted.key !== key || painted.bars.length === 0) drawing.show(slots, box.clientWidth);
        painted = { key, bars, last: bars.at(-1) ?? null };
      }
      painted.last = drawing.append(newerBars(painted, bars, live), painted.last);
      painted.bars = bars;
      paintLegend(nodes.legend, barAt(hovered, bars, live), instrument, interval);
    },
    /** The part that also changes with time: why there is no history, and when the next try is. */
    paintTrouble({ history, nowMs, bars, filling }) {
      const words = fillingWords(filling);
      write(nodes.filling, words);
      attribute(nodes.filling, "title", fillingTitle(filling) || null);
      const waiting = history.phase === "waiting";
      const missing = bars.length === 0;
      show(nodes.trouble, waiting || missing);
      show(nodes.retry, waiting);
      write(nodes.words, waiting ? waitingWords(history, nowMs, missing) : missing ? emptyWords(history, words) : "");
    },
  };
}

function waitingWords({ reason, retryAtMs }, nowMs, missing) {
  const wait = Math.max(1, Math.ceil((retryAtMs - nowMs) / 1000));
  const lack = missing ? "No candle history" : "Candle history not refreshed";
  return `${lack}: ${reason.replace(/\.$/, "")}. Trying again in ${wait} s.`;
}

function emptyWords({ phase }, filling) {
  if (phase !== "ready") return "Loading candles";
  if (filling !== "") return `Waiting for candles: ${filling}`;
  return "No closed candle yet: the first comes with the next full one";
}

// What the drawing lacks: everything from its newest bar on, unless that is still the very same.
function newerBars({ last }, bars, live) {
  const newest = bars.at(-1)?.time ?? -Infinity;
  const all = live !== null && live.time > newest ? [...bars, live] : bars; // a closed minute beats its own live bar
  const from = last === null ? 0 : all.findLastIndex((bar) => bar.time < last.time) + 1;
  const newer = all.slice(from);
  return last !== null && newer.length > 0 && sameBar(last, newer[0]) ? newer.slice(1) : newer;
}

function barAt(time, bars, live) {
  const newest = live ?? bars.at(-1) ?? null;
  if (time === null || newest?.time === time) return newest;
  return bars.find((bar) => bar.time === time) ?? newest;
}

function paintLegend(node, bar, { price_decimals, quantity_decimals, base_asset }, interval) {
  if (bar === null) return write(node, "");
  const price = (value) => fixed(value, price_decimals);
  const volume = quantityColumn(bar.volume, Math.min(3, quantity_decimals))(bar.volume);
  attribute(node, "data-side", bar.close >= bar.open ? "bid" : "ask");
  const prices = `O ${price(bar.open)}  H ${price(bar.high)}  L ${price(bar.low)}  C ${price(bar.close)}`;
  const time = utcMinute(bar.time * 1000);
  const hole = bar.missing > 0 ? `  ${bar.missing} min missing` : "";
  const shown = interval.stepSeconds > 0 && interval.stepSeconds < DAY_S ? time.slice(11) : time.slice(0, 10);
  return write(node, `${shown}  ${prices}  V ${volume} ${base_asset}${hole}`);
}

function intervalButton({ name, words }) {
  return element("button", { type: "button", class: "interval", "data-interval": name, title: words }, name);
}

function createDrawing(charts, box) {
  const colour = palette(box);
  const chart = charts.createChart(box, chartOptions(charts, colour));
  const candles = chart.addSeries(charts.CandlestickSeries, {
    upColor: colour.bid,
    downColor: colour.ask,
    wickUpColor: colour.bid,
    wickDownColor: colour.ask,
    borderVisible: false,
    priceLineStyle: charts.LineStyle.Dotted,
  });
  const volume = chart.addSeries(charts.HistogramSeries, {
    priceScaleId: "volume",
    priceFormat: { type: "volume" },
    lastValueVisible: false,
    priceLineVisible: false,
  });
  candles.priceScale().applyOptions({ scaleMargins: { top: 0.06, bottom: 0.24 } });
  volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
  const volumeOf = (bar) => volumeBar(bar, colour);
  let stepSeconds = 0;
  const holed = (bars) => (stepSeconds > 0 ? withGaps(bars, stepSeconds, SLOTS_MAX) : bars.slice(-SLOTS_MAX));

  return {
    chart,
    adopt({ price_decimals, tick_size }, interval) {
      stepSeconds = interval.stepSeconds;
      const formatter = (price) => fixed(price, price_decimals);
      const minMove = tick_size > 0 ? tick_size : 10 ** -price_decimals;
      candles.applyOptions({ priceFormat: { type: "custom", formatter, minMove } });
    },
    start(bars) {
      const slots = holed(bars);
      candles.setData(slots);
      volume.setData(slots.map(volumeOf));
      return slots.length;
    },
    show(slots, width) {
      const shown = Math.min(BARS_SHOWN_MAX, Math.max(BARS_SHOWN_MIN, Math.floor(width / BAR_PX)));
      chart.timeScale().setVisibleLogicalRange({ from: slots - shown, to: slots + RIGHT_BARS });
    },
    append(bars, last) {
      const hole = last !== null && bars.length > 0 ? holed([last, bars[0]]).slice(1, -1) : [];
      for (const slot of [...hole, ...bars]) {
        candles.update(slot);
        volume.update(volumeOf(slot));
      }
      return bars.at(-1) ?? last;
    },
  };
}

function volumeBar(bar, colour) {
  if (bar.open === undefined) return { time: bar.time };
  return { time: bar.time, value: bar.volume, color: bar.close >= bar.open ? colour.bidVolume : colour.askVolume };
}

// The chart draws on a canvas, so it is told the style sheet's colours instead of inheriting them.
function palette(box) {
  const style = getComputedStyle(box);
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

function chartOptions(charts, colour) {
  return {
    autoSize: true,
    layout: {
      background: { type: charts.ColorType.Solid, color: "transparent" },
      textColor: colour.text,
      fontSize: 11,
      fontFamily: colour.font,
      attributionLogo: false, // its inline style would break the page's content policy
    },
    grid: { vertLines: { color: colour.faint }, horzLines: { color: colour.faint } },
    crosshair: {
      mode: charts.CrosshairMode.Normal,
      vertLine: { color: colour.cursor, labelBackgroundColor: colour.line },
      horzLine: { color: colour.cursor, labelBackgroundColor: colour.line },
    },
    rightPriceScale: { borderColor: colour.line, minimumWidth: 74, entireTextOnly: true },
    timeScale: {
      borderColor: colour.line,
      timeVisible: true,
      secondsVisible: false,
      rightOffset: RIGHT_BARS,
      minBarSpacing: 1,
    },
    localization: { timeFormatter: (time) => `${utcMinute(time * 1000)} UTC`, dateFormat: "yyyy-MM-dd" },
  };
}
