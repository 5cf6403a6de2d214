// The candle chart: closed bars from the store and the running one, volume and layers, gaps left open and marked. It
// draws the bars it is given and says why there are none; requesting them is the caller's business.

import { closest, element, find, setAttr, setText, setVisible } from "../../dom.js";
import { waitText } from "../../format.js";
import { INTERVALS, MINUTE, progressText, progressTitle } from "../../intervals.js";
import { continues, sameBar } from "../../state.js";
import { zoneFor, zoneOf } from "../../time_zone.js";
import { lastTrade } from "../../trade_list.js";
import { createDrawing } from "./drawing.js";
import { paintLegend } from "./legend.js";

/** @import * as Charts from "lightweight-charts" */
/** @import {FetchStatus} from "../../fetcher.js" */
/** @import {Interval} from "../../intervals.js" */
/** @import {Frame, Panel, PanelContext} from "../../panel_frame.js" */
/** @import {Bar} from "../../state.js" */
/** @import {createToolbox} from "./toolbox.js" */
/** @import {Trade} from "../../types.js" */

const CHARTS = "../../vendor/lightweight-charts-5.2.1/lightweight-charts.standalone.production.mjs";
const FAR_STEP = 10; // bars a step of an arrow key with Shift
/** @type {{key: string, bars: Bar[], last: Bar | null}} */
const NOTHING = Object.freeze({ key: "", bars: [], last: null });

/**
 * Create the panel. The chart library, the page's largest file, is waited for.
 * @param {Frame} frame
 * @param {PanelContext} context
 * @returns {Promise<Panel>}
 */
export async function mount(frame, { repaint, commands, data, settings }) {
  fill(frame);
  const { section } = frame;
  /** @type {typeof Charts} */
  const charts = await import(new URL(CHARTS, import.meta.url).href);
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
    body: find(section, ".chart-body"),
    spoken: find(section, ".chart-spoken"),
    values: find(section, ".legend-layers"),
  };
  /** Loaded after the candles have been drawn.
   * @type {ReturnType<typeof createToolbox> | null}
   */
  let toolbox = null;
  import("./toolbox.js").then((module) => {
    toolbox = module.createToolbox(frame, nodes, charts, drawing, settings, repaint);
    repaint();
  });
  const buttons = INTERVALS.map(intervalButton);
  nodes.intervals.append(...buttons);
  nodes.intervals.addEventListener("click", (event) => {
    const button = closest(event, "[data-interval]");
    if (button !== null) commands.selectInterval(button.dataset.interval);
  });
  nodes.retry.addEventListener("click", () => data.history(symbol)?.retryNow());
  nodes.toNow.addEventListener("click", () => drawing.toNow());
  drawing.chart.timeScale().subscribeVisibleLogicalRangeChange(() => setVisible(nodes.toNow, drawing.isBehind()));
  let painted = NOTHING;
  let symbol = ""; // whose candles are requested
  /** @type {number | null} */
  let hovered = null;
  drawing.chart.subscribeCrosshairMove(({ time }) => {
    hovered = typeof time === "number" ? time : null;
    repaint();
  });

  let isKeyMove = false;
  nodes.body.addEventListener("blur", () => drawing.point(null));
  nodes.body.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key] ?? 0;
    if (event.key === "Escape") drawing.point(null);
    if (step === 0) return;
    event.preventDefault();
    const bar = stepped(painted.bars, painted.last, hovered, step * (event.shiftKey ? FAR_STEP : 1));
    isKeyMove = bar !== null;
    hovered = bar?.time ?? null;
    drawing.point(bar);
    repaint();
  });

  /** Remove another symbol's bars, which must not appear under the name of a symbol without any. */
  function clear() {
    if (painted !== NOTHING) drawing.start([]);
    painted = NOTHING;
    drawing.markLast(null);
    toolbox?.clear();
    setText(nodes.legend, "");
    setText(nodes.values, "");
  }

  /**
   * @param {string} key
   * @param {Bar[]} bars
   * @param {Bar | null} live
   */
  function draw(key, bars, live) {
    const isOther = painted.key !== key;
    if (isOther || !continues(painted.bars, bars)) {
      const slots = drawing.start(bars);
      if (isOther || painted.bars.length === 0) drawing.show(slots, box.clientWidth);
      painted = { key, bars, last: bars.at(-1) ?? null };
    }
    painted.last = drawing.append(newerBars(painted.last, bars, live), painted.last);
    painted.bars = bars;
  }

  /**
   * @param {Trade[]} trades
   * @param {Bar[]} bars
   * @param {Bar | null} live
   * @param {number} step seconds of a bar
   */
  function paintNewest(trades, bars, live, step) {
    // Not the last bar's close: a server that has just started has no running bar yet.
    const last = lastTrade(trades);
    drawing.markLast(last);
    setAttr(section, "data-last", last?.price);
    setAttr(section, "data-first", bars[0]?.time);
    setAttr(section, "data-gaps", step > 0 ? missingBars(bars, step) : null);
    setAttr(nodes.legend, "data-running", live !== null && barAt(hovered, bars, live) === live);
  }

  return {
    isPaced: true,
    topics: ({ interval, selected }) => (interval === MINUTE ? [] : [{ topic: `kline.${selected}.${interval.name}` }]),
    paint({ bars, live, trades, instrument, view, interval, selected }) {
      symbol = selected;
      paintButtons(buttons, interval);
      if (instrument === null || view === null) return clear();
      const { stepSeconds } = interval;
      const key = `${view.symbol} ${interval.name}`;
      if (painted.key !== key) drawing.adopt(instrument, interval);
      const zone = zoneFor(zoneOf(settings.get("zone")), stepSeconds);
      drawing.setZone(zone);
      draw(key, bars, live);
      toolbox?.paintLayers(key, bars, live, instrument, stepSeconds);
      if (toolbox?.lacksDay(bars, stepSeconds) || drawing.isNearStart()) data.history(symbol)?.loadOlder();
      paintNewest(trades, bars, live, stepSeconds);
      const shown = barAt(hovered, bars, live);
      const readings = shown === null ? [] : toolbox?.read(shown, instrument);
      paintLegend(nodes, shown, readings ?? [], instrument, interval, zone);
      toolbox?.paint({ bars, live, instrument, interval, symbol: view.symbol, zone });
      if (isKeyMove) setText(nodes.spoken, `${nodes.legend.textContent} ${nodes.values.textContent}`);
      isKeyMove = false;
    },
    /** Whether the newest bar as it is drawn does not contain the last price, which is painted more often. */
    isUrgent({ trades, view, live }) {
      const price = lastTrade(trades)?.price;
      const { key, last } = painted;
      if (price === undefined || last === null || live === null || !key.startsWith(`${view?.symbol} `)) return false;
      return price > last.high || price < last.low;
    },
    /** Paint why there is no history, and when the next attempt is. */
    paintTime({ history, nowMs, bars, progress }) {
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
 * Fill the panel.
 * @param {Frame} frame
 */
function fill({ section, head, body, streamAge }) {
  setAttr(section, "data-testid", "candles");
  head.append(
    element("div", { class: "intervals", role: "group", "aria-label": "Interval", "data-testid": "intervals" }),
    streamAge("kline", "candles-age"),
    element("p", { class: "panel-note chart-progress", "data-testid": "chart-progress" }),
  );
  const label = "Candle chart: arrow keys read the candles";
  const toNow = { type: "button", class: "tool to-now", "data-testid": "to-now", hidden: true };
  body.append(
    element("div", { class: "chart-tools-place" }),
    element("p", { class: "legend figure values of-kline", "data-testid": "legend" }),
    element("p", { class: "legend-layers figure values of-kline", "data-testid": "legend-layers" }),
    element(
      "div",
      { class: "chart-body", tabindex: 0, role: "group", "aria-label": label },
      element("div", { class: "chart-canvas values of-kline", "aria-hidden": "true" }),
      element("p", { class: "unseen chart-spoken", role: "status", "data-testid": "chart-spoken" }),
      element("button", toNow, element("span", {}, "Go to now")),
      element(
        "div",
        { class: "chart-notice", "data-testid": "chart-notice", hidden: true },
        element("p", { class: "chart-text" }),
        element("button", { type: "button", class: "retry chart-retry" }, "Retry now"),
      ),
    ),
  );
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
 * Return how many bars are missing between the first and the last one.
 * @param {Bar[]} bars
 * @param {number} step
 */
function missingBars(bars, step) {
  const last = bars.at(-1);
  return last === undefined ? 0 : (last.time - bars[0].time) / step + 1 - bars.length;
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
 * Return the bar so many steps from the one at `time`, from the newest one where none is pointed at.
 * @param {Bar[]} bars
 * @param {Bar | null} last the newest one that is drawn, which may be the running one
 * @param {number | null} time
 * @param {number} steps
 */
function stepped(bars, last, time, steps) {
  const all = last !== null && last.time > (bars.at(-1)?.time ?? -Infinity) ? [...bars, last] : bars;
  const at = time === null ? all.length - 1 : all.findLastIndex((bar) => bar.time <= time);
  const from = time === null && steps < 0 ? all.length : at; // the first key points at the newest one
  return all[Math.min(all.length - 1, Math.max(0, from + steps))] ?? null;
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
