// The depth chart: what rests on both sides up to each price, over all that is known of the book, in the finest groups
// that show all of it. Pointer and arrow keys read it.

import { element, setAttr, setText } from "../../dom.js";
import { bpsBetween, figure, fixed } from "../../format.js";
import { reactive } from "../../signals.js";
import { curvesOf, depthAt, stepsOf } from "./curve.js";

/** @import {LadderMessage} from "../../liquidity_types.js" */
/** @import {PanelModel} from "../../page_model.js" */
/** @import {Frame, Panel, PanelContext} from "../../panel_frame.js" */
/** @import {Curves} from "./curve.js" */

const ROWS = 100;
const START = 1_000; // ticks a group, until the server has said which groups show all
const KEY_STEP = 0.02; // of the width
const FILL_ALPHA = 0.18;
const HINT = "Point at a price, or use the arrow keys, to read what rests up to it";

/**
 * Create the panel.
 * @param {Frame} frame
 * @param {PanelContext} context
 * @returns {Panel}
 */
export function mount({ body, head, heading }, { repaint }) {
  const note = element("p", { class: "panel-note depth-note", "data-testid": "depth-note" });
  head.append(note);
  const canvas = element("canvas", { width: 0, height: 0, "aria-hidden": "true" });
  const names = { "aria-labelledby": heading.id, "data-testid": "depth", role: "group" };
  const chart = element("div", { class: "depth-chart values of-depth", tabindex: 0, ...names }, canvas);
  const reading = element("p", { class: "depth-reading figure", role: "status", "data-testid": "depth-reading" });
  body.append(chart, reading);
  const style = getComputedStyle(canvas);
  const colours = { bid: style.getPropertyValue("--bid").trim(), ask: style.getPropertyValue("--ask").trim() };
  const state = reactive({ coveredFor: "", covering: 0 });
  /** @type {LadderMessage | null} */
  let held = null;
  /** @type {number | null} */
  let at = null; // where the user reads, from 0 to 1

  chart.addEventListener("pointermove", ({ clientX }) => {
    const { left, width } = chart.getBoundingClientRect();
    at = Math.min(1, Math.max(0, (clientX - left) / width));
    repaint();
  });
  chart.addEventListener("pointerleave", ({ pointerType }) => {
    if (pointerType !== "mouse") return;
    at = null;
    repaint();
  });
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -KEY_STEP, ArrowRight: KEY_STEP }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    at = Math.min(1, Math.max(0, (at ?? 0.5) + step));
    repaint();
  });
  new ResizeObserver(repaint).observe(chart);

  /** @param {string} symbol */
  function topicOf(symbol) {
    return `ladder.${symbol}.${state.coveredFor === symbol ? state.covering : START}`;
  }

  /** @param {PanelModel} model */
  function messageOf(model) {
    const newest = /** @type {LadderMessage | null} */ (model.message(topicOf(model.selected)));
    if (model.paused === null) held = newest;
    const covering = newest?.covering_multiple ?? 0;
    if (covering > 0 && state.coveredFor !== model.selected)
      Object.assign(state, { covering, coveredFor: model.selected });
    return held?.symbol === model.selected ? held : null;
  }

  /** @param {Curves | null} curves */
  function draw(curves) {
    const context = canvas.getContext("2d");
    if (context === null) return;
    const { clientWidth: width, clientHeight: height } = chart;
    const ratio = window.devicePixelRatio || 1;
    Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (curves === null) return;
    drawSide(context, stepsOf(curves.bids, curves, width, height), colours.bid, height);
    drawSide(context, stepsOf(curves.asks, curves, width, height), colours.ask, height);
    if (at === null) return;
    context.fillStyle = style.color;
    context.fillRect(Math.round(at * width), 0, 1, height);
  }

  return {
    paint(model) {
      const message = messageOf(model);
      const curves = curvesOf(message);
      setAttr(chart, "data-multiple", curves === null ? null : message?.ladder.multiple);
      setAttr(chart, "data-update-id", curves === null ? null : message?.last_update_id);
      draw(curves);
      setText(note, curves === null || curves.isWhole ? "" : "more lies beyond the known range, or the chart");
      setText(reading, readingText(curves, at, model));
    },
    topics: ({ selected }) => [{ topic: topicOf(selected), rows: ROWS, rate: "4hz" }],
  };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number][]} points
 * @param {string} colour
 * @param {number} height
 */
function drawSide(context, points, colour, height) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.stroke();
  const [last] = points[points.length - 1];
  context.lineTo(last, height);
  context.lineTo(points[0][0], height);
  context.fillStyle = colour;
  context.globalAlpha = FILL_ALPHA;
  context.fill();
  context.globalAlpha = 1;
}

/**
 * @param {Curves | null} curves
 * @param {number | null} at
 * @param {PanelModel} model
 */
function readingText(curves, at, { instrument, view }) {
  if (curves === null || instrument === null) return "The server has not sent the depth yet";
  if (at === null) return HINT;
  const found = depthAt(curves, at);
  if (found === null) return "Between the best bid and the best ask";
  const { side, depth } = found;
  const price = fixed(depth.price, instrument.price_decimals);
  const base = `${figure(depth.base, instrument.quantity_decimals)} ${instrument.base_asset}`;
  const quote = `${figure(depth.quote, 2)} ${instrument.quote_asset}`;
  const distance = bpsBetween(depth.price, view?.metrics.mid_price);
  return `${side === "bid" ? "Bids down" : "Asks up"} to ${price} (${distance} bps): ${base}, ${quote}`;
}
