// The metrics as cards: value, unit, a second line, and the last five minutes as a sparkline. Each card is one entry of
// a table below; values come from the server, and only their text is computed here.

import { element, find, setAttr, setText, svgElement } from "../../dom.js";
import {
  bps,
  bpsBetween,
  decimalsFor,
  figure,
  fixed,
  isKnown,
  signed,
  signedFigure,
  signOf,
  UNKNOWN,
  utcMinute,
} from "../../format.js";
import { isTopIncomplete, lowerBoundSides, lowerBoundText } from "../../known_range.js";
import { createExplanation } from "../../explanation.js";
import { lineRuns } from "../../scale.js";
import { SAMPLES_MAX } from "../../state.js";

/** @import {Frame, Panel, PanelContext} from "../../panel_frame.js" */
/** @import {Point} from "../../scale.js" */
/** @import {Sample} from "../../state.js" */
/** @import {Instrument, Metrics, Side, View} from "../../types.js" */

const LINE_WIDTH = 200; // the sparklines' own units; the page stretches them to the card
const LINE_HEIGHT = 18;
const LINE_S_MIN = 60; // a page that was just opened stretches its first minute, not its first second
/** Those that stand still while the trades are silent. */
const OF_TRADES = ["vwap", "trade_cvd", "trade_rate"];
const AT_LEAST = "\u2265";

/** One card of the table. `name` is the metric that it shows, unless `value` computes it.
 * @typedef {object} CardSpec
 * @property {Exclude<keyof Metrics, "depth_10bps_exact">} name
 * @property {string} label
 * @property {(instrument: Instrument) => string} unit
 * @property {(value: number, instrument: Instrument) => string} text
 * @property {(view: View, instrument: Instrument) => string} extra the second line
 * @property {string} meaning what it says to a trader
 * @property {string} formula
 * @property {(keyof Metrics)[]} [explained] the metrics that go into it, where it is not one alone
 * @property {number} [signs] decimals by which its sign colours it
 * @property {(metrics: Metrics) => number | null} [value]
 * @property {(metrics: Metrics) => number | null} [line] what the sparkline draws, when it is not the value
 * @property {(view: View) => string} [missing] the second line where the value is not known
 * @property {(view: View, instrument: Instrument) => string} [bound] why it is only a lower bound, "" when it is exact
 */

/** @typedef {CardSpec & ReturnType<typeof cardNodes>} Card */

/** @type {(instrument: Instrument) => string} */
const base = ({ base_asset }) => base_asset;
/** @type {(instrument: Instrument) => string} */
const quote = ({ quote_asset }) => quote_asset;
/** @type {(value: number | null, instrument: Instrument, more?: number) => string} */
const priceText = (value, { price_decimals }, more = 0) => fixed(value, price_decimals + more);
/** @type {(value: number | null, instrument: Instrument) => string} */
const quantity = (value, { quantity_decimals }) => figure(value, quantity_decimals);
/** @type {(value: number, instrument: Instrument) => string} */
const signedQuantity = (value, { quantity_decimals }) => signedFigure(value, quantity_decimals);
/** @type {(view: View) => string} */
const topMissing = (view) => (isTopIncomplete(view) ? "fewer than 20 levels known" : "not known");

/** @type {CardSpec[]} */
const CARDS = [
  {
    name: "spread_bps",
    label: "Spread",
    unit: () => "bps",
    text: bps,
    extra: ({ metrics }, i) => `${priceText(metrics.spread_abs, i)}, ${percentText(metrics.spread_pct)}`,
    meaning: "What a round trip at the best prices costs, in hundredths of a percent.",
    formula: "10,000 x (best ask - best bid) / mid",
  },
  {
    name: "mid_price",
    label: "Mid price",
    unit: quote,
    text: (value, i) => priceText(value, i, 1),
    extra: ({ metrics }, i) => `${priceText(metrics.best_bid, i)} / ${priceText(metrics.best_ask, i)}`,
    meaning: "The middle between the best bid and the best ask.",
    formula: "(best bid + best ask) / 2",
  },
  {
    name: "microprice",
    label: "Microprice",
    unit: quote,
    text: (value, i) => priceText(value, i, 1),
    extra: ({ metrics }) => `${bpsBetween(metrics.microprice, metrics.mid_price)} bps from mid`,
    meaning: "The mid, drawn towards the side with less quantity: where the next trade is likelier.",
    formula: "(best bid x ask quantity + best ask x bid quantity) / (bid quantity + ask quantity), at the best prices",
  },
  {
    name: "vwap",
    label: "VWAP, session",
    unit: quote,
    text: priceText,
    extra: ({ metrics: { mid_price: mid, vwap } }) => (mid === null ? "" : `mid ${bpsBetween(mid, vwap)} bps off`),
    meaning: "The average price that was paid, each trade by its size.",
    formula: "sum of price x quantity / sum of quantity, over the trades since the session began",
  },
  {
    name: "imbalance",
    label: "Imbalance, top 20",
    unit: () => "",
    text: (value) => signed(value, 2),
    signs: 2,
    extra: () => "\u22121 asks, +1 bids",
    meaning: "Which side of the book is heavier.",
    formula: "(bid quantity - ask quantity) / (bid quantity + ask quantity), over the best 20 levels of each side",
    missing: topMissing,
  },
  {
    name: "queue_imbalance",
    label: "Imbalance, best",
    unit: () => "",
    text: (value) => signed(value, 2),
    signs: 2,
    extra: () => "best bid against best ask",
    meaning: "Which of the two best prices has more quantity behind it.",
    formula: "(bid quantity - ask quantity) / (bid quantity + ask quantity), at the best prices alone",
  },
  {
    name: "cvd",
    label: "Book CVD (top 20)",
    unit: base,
    text: signedQuantity,
    signs: 3,
    extra: () => "resting bids minus asks",
    meaning: "How much more rests on the bid side than on the ask side.",
    formula: "bid quantity - ask quantity, over the best 20 levels of each side (not a sum over trades)",
    missing: topMissing,
  },
  {
    name: "depth_10bps_bid",
    label: "Depth within 10 bps",
    unit: base,
    value: depth,
    explained: ["depth_10bps_bid", "depth_10bps_ask", "depth_10bps_exact"],
    line: (metrics) => (metrics.depth_10bps_exact ? depth(metrics) : null),
    text: quantity,
    bound: lowerBoundText,
    extra: (view, i) => `${depthText(view, "bid", i)}, ${depthText(view, "ask", i)}`,
    meaning: "What can be traded before the price moves by 0.1 %.",
    formula: "quantity resting within 0.1 % of the mid, both sides; \u2265: the known book ends inside that band",
  },
  {
    name: "ofi",
    label: "OFI, 10 s",
    unit: base,
    text: signedQuantity,
    signs: 3,
    extra: () => "flow into bids minus asks",
    missing: () => "available after 10 s",
    meaning: "Whether buying or selling interest at the best prices has grown in the last 10 s.",
    formula: "order-flow imbalance: signed changes of quantity at the best bid and ask, summed over the last 10 s",
  },
  {
    name: "trade_cvd",
    label: "Trade CVD",
    unit: base,
    text: signedQuantity,
    signs: 3,
    extra: (view) => `since ${utcMinute(view.session_start_ms).slice(11)} UTC`,
    missing: () => "no trade yet",
    meaning: "How much more was bought than sold by those who took the price offered.",
    formula: "bought - sold by takers since the session began: at the server's start, 00:00 UTC, or after lost trades",
  },
  {
    name: "trade_rate",
    label: "Trade rate",
    unit: () => "per s",
    text: (value) => fixed(value, value < 10 ? 2 : 1),
    extra: () => "decayed over 10 s",
    meaning: "How busy the market is.",
    formula: "trades per second, with an exponential decay over 10 s",
  },
  {
    name: "realised_volatility",
    label: "Realised volatility",
    unit: () => "% p.a.",
    text: (value) => fixed(value, 1),
    extra: ({ metrics }) =>
      `${bps(metrics.realised_volatility_bps)} bps over ${spanText(metrics.realised_volatility_s ?? 0)}`,
    missing: () => "available after 30 s",
    meaning: "How much the price has moved from second to second.",
    formula: "square root of the sum of squared 1 s log returns of the mid, over up to 300 s, scaled to a year",
  },
];

/**
 * Create the panel.
 * @param {Frame} frame
 * @param {PanelContext} context
 * @returns {Panel}
 */
export function mount({ section, head, body }, { server }) {
  setAttr(section, "data-testid", "metrics");
  const note = element("p", { class: "panel-note metrics-note" });
  head.append(note);
  const cards = CARDS.map((spec) => ({ ...spec, ...cardNodes(spec) }));
  const explain = createExplanation(find(document, "dialog.explain"), server);
  /** @type {View | null} */
  let shown = null;
  for (const { node, nameNode, ...spec } of cards) {
    nameNode.addEventListener("click", () => {
      const bound = node.getAttribute("data-bound") === null ? "" : node.title;
      explain({ ...spec, bound }, spec.explained ?? [spec.name], shown);
    });
  }
  body.append(element("dl", { class: "cards values" }, ...cards.map(({ node }) => node)));
  /** @type {number | null} */
  let paintedSecond = null;

  return {
    paint({ view, instrument, samples }) {
      shown = view;
      for (const card of cards) {
        if (view === null || instrument === null) paintEmpty(card);
        else paintCard(card, view, instrument);
      }
      setText(note, view === null ? "" : `session since ${utcMinute(view.session_start_ms)} UTC`);
      const second = samples.at(-1)?.second ?? null;
      if (second === paintedSecond) return;
      paintedSecond = second;
      for (const card of cards) paintLine(card, samples);
    },
  };
}

/** @param {CardSpec} spec */
function cardNodes(spec) {
  const value = element("span", { class: "card-value" });
  const unit = element("span", { class: "card-unit" });
  const boundNote = element("span", { class: "unseen" });
  const figures = element("span", { class: "card-figure" }, value, boundNote);
  const second = element("span", { class: "card-extra" });
  const path = svgElement("path");
  const box = `0 0 ${LINE_WIDTH} ${LINE_HEIGHT}`;
  const frame = { class: "card-line", viewBox: box, preserveAspectRatio: "none", "aria-hidden": "true" };
  const name = element("button", { type: "button", class: "card-name", "aria-haspopup": "dialog" }, spec.label);
  const node = element(
    "div",
    {
      class: OF_TRADES.includes(spec.name) ? "card of-trade" : "card",
      "data-metric": spec.name,
      title: titleOf(spec, ""),
    },
    element("dt", {}, name, " ", unit),
    element("dd", { class: "figure" }, figures, second, svgElement("svg", frame, path)),
  );
  return { node, nameNode: name, valueNode: value, unitNode: unit, boundNode: boundNote, extraNode: second, path };
}

/**
 * @param {CardSpec} spec
 * @param {string} bound
 */
function titleOf({ meaning, formula }, bound) {
  return `${bound === "" ? "" : `${bound}. `}${meaning} ${formula}. Line: the last 5 minutes.`;
}

/**
 * @param {CardSpec} spec
 * @param {Metrics} metrics
 */
function metricOf({ name, value }, metrics) {
  return value === undefined ? metrics[name] : value(metrics);
}

/** @param {Card} card */
function paintEmpty(card) {
  paintTexts(card, { value: null, bound: "", text: UNKNOWN, unit: "", extra: "" });
}

/**
 * @param {Card} card
 * @param {View} view
 * @param {Instrument} instrument
 */
function paintCard(card, view, instrument) {
  const value = metricOf(card, view.metrics);
  const unit = card.unit(instrument);
  if (!isKnown(value)) {
    const extra = card.missing?.(view) ?? "not known";
    paintTexts(card, { value: null, bound: "", text: UNKNOWN, unit, extra });
    return;
  }
  const bound = card.bound?.(view, instrument) ?? "";
  const text = (bound === "" ? "" : AT_LEAST) + card.text(value, instrument);
  paintTexts(card, { value, bound, text, unit, extra: card.extra(view, instrument) });
}

/**
 * @param {Card} card
 * @param {{value: number | null, bound: string, text: string, unit: string, extra: string}} texts
 */
function paintTexts(card, { value, bound, text, unit, extra }) {
  setAttr(card.node, "data-value", value);
  setAttr(card.node, "data-sign", card.signs === undefined ? null : signOf(value, card.signs));
  setAttr(card.node, "data-bound", bound !== "");
  setAttr(card.node, "title", titleOf(card, bound));
  setText(card.boundNode, bound);
  setText(card.valueNode, text);
  setText(card.unitNode, unit);
  setText(card.extraNode, extra);
}

/**
 * @param {Card} card
 * @param {Sample[]} samples
 */
function paintLine(card, samples) {
  const read = card.line ?? ((/** @type {Metrics} */ metrics) => metricOf(card, metrics));
  const runs = lineRuns(timeline(samples, read), LINE_WIDTH, LINE_HEIGHT);
  setAttr(card.path, "d", runs.map((run) => `M${run.map(pair).join("L")}`).join(""));
}

/** @param {[number, number]} point */
function pair([x, y]) {
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}

/**
 * Return points from the newest second at the right edge, one to five minutes across; seconds without a sample end the
 * line.
 * @param {Sample[]} samples
 * @param {(metrics: Metrics) => number | null} read
 */
function timeline(samples, read) {
  const newest = samples.at(-1)?.second ?? 0;
  const across = Math.min(SAMPLES_MAX, Math.max(LINE_S_MIN, newest - (samples[0]?.second ?? newest)));
  /** @type {Point[]} */
  const points = [];
  for (const [index, { second, metrics }] of samples.entries()) {
    const at = 1 - (newest - second) / across;
    if (index > 0 && second - samples[index - 1].second > 2) points.push({ at, value: null });
    points.push({ at, value: metrics === null ? null : read(metrics) });
  }
  return points.filter(({ at }) => at >= 0);
}

/** @param {Metrics} metrics */
function depth({ depth_10bps_bid: bid, depth_10bps_ask: ask }) {
  return bid === null || ask === null ? null : bid + ask;
}

/**
 * @param {View} view
 * @param {Side} side
 * @param {Instrument} instrument
 */
function depthText(view, side, instrument) {
  const mark = lowerBoundSides(view).includes(side) ? AT_LEAST : "";
  return `${side} ${mark}${quantity(view.metrics[`depth_10bps_${side}`], instrument)}`;
}

/**
 * Return a length of time: "45 s", "5 min", "3 min 20 s".
 * @param {number} seconds
 */
function spanText(seconds) {
  const rest = seconds % 60;
  return [seconds >= 60 ? `${Math.floor(seconds / 60)} min` : "", rest > 0 ? `${rest} s` : ""]
    .filter(Boolean)
    .join(" ");
}

/** @param {number | null} percent */
function percentText(percent) {
  return `${fixed(percent, decimalsFor(percent ?? NaN, 3, 2, 8))} %`;
}
