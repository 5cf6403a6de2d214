// The measures as cards: value, unit, what it means, and its last five minutes as a small line. Each card is one
// entry of a table below; figures come from the server and nothing is computed here but how to write them.

import { attribute, drawing, element, write } from "../dom.js";
import {
  bps,
  bpsBetween,
  decimalsFor,
  figure,
  fixed,
  signed,
  signedFigure,
  signOf,
  UNKNOWN,
  utcMinute,
} from "../format.js";
import { lineRuns } from "../scale.js";
import { SAMPLES_MAX } from "../state.js";
import { atLeastWords, boundSides, isTopShort } from "../known_range.js";

const LINE_WIDTH = 200; // the small lines' own units; the page stretches them to the card
const LINE_HEIGHT = 18;
const LINE_S_MIN = 60; // a page just opened stretches its first minute, not its first second
const AT_LEAST = "\u2265";

const base = ({ base_asset }) => base_asset;
const quote = ({ quote_asset }) => quote_asset;
const priceText = (value, { price_decimals }, more = 0) => fixed(value, price_decimals + more);
const quantity = (value, { quantity_decimals }) => figure(value, quantity_decimals);
const signedQuantity = (value, { quantity_decimals }) => signedFigure(value, quantity_decimals);
const depth = (m) => total(m.depth_10bps_bid, m.depth_10bps_ask);
const depthText = (picture, side, instrument) => {
  const mark = boundSides(picture).includes(side) ? AT_LEAST : "";
  return `${side} ${mark}${quantity(picture.metrics[`depth_10bps_${side}`], instrument)}`;
};
const topLack = (picture) => (isTopShort(picture) ? "fewer than 20 levels known" : "not known");

// `name` is the metric's own name; `text` writes it; `extra` is the second line; `signs` colours it by its sign;
// `lack` is the second line where it is not known; `bound` says why it is only a lower bound, and of what `line` then
// draws nothing.
const CARDS = [
  {
    name: "spread_bps",
    label: "Spread",
    unit: () => "bps",
    text: bps,
    extra: (m, i) => `${priceText(m.spread_abs, i)}, ${percentText(m.spread_pct)}`,
    formula: "10,000 x (best ask - best bid) / mid",
  },
  {
    name: "mid_price",
    label: "Mid price",
    unit: quote,
    text: (v, i) => priceText(v, i, 1),
    extra: (m, i) => `${priceText(m.best_bid, i)} / ${priceText(m.best_ask, i)}`,
    formula: "(best bid + best ask) / 2",
  },
  {
    name: "microprice",
    label: "Microprice",
    unit: quote,
    text: (v, i) => priceText(v, i, 1),
    extra: (m) => `${bpsBetween(m.microprice, m.mid_price)} bps from mid`,
    formula: "(best bid x ask quantity + best ask x bid quantity) / (bid quantity + ask quantity), at the touch",
  },
  {
    name: "vwap",
    label: "VWAP, session",
    unit: quote,
    text: (v, i) => priceText(v, i),
    extra: (m) => (m.mid_price === null ? "" : `mid ${bpsBetween(m.mid_price, m.vwap)} bps from it`),
    formula: "sum of price x quantity / sum of quantity, over the trades since the session began",
  },
  {
    name: "imbalance",
    label: "Imbalance, top 20",
    unit: () => "",
    text: (v) => signed(v, 2),
    signs: 2,
    extra: () => "\u22121 asks only, +1 bids only",
    formula: "(bid quantity - ask quantity) / (bid quantity + ask quantity), over the best 20 levels of each side",
    lack: topLack,
  },
  {
    name: "queue_imbalance",
    label: "Imbalance, touch",
    unit: () => "",
    text: (v) => signed(v, 2),
    signs: 2,
    extra: () => "best bid against best ask",
    formula: "(bid quantity - ask quantity) / (bid quantity + ask quantity), at the best prices alone",
  },
  {
    name: "cvd",
    label: "Book CVD (top 20)",
    unit: base,
    text: signedQuantity,
    signs: 3,
    extra: () => "resting bids minus asks",
    formula: "bid quantity - ask quantity, over the best 20 levels of each side (not a sum over trades)",
    lack: topLack,
  },
  {
    name: "depth_10bps_bid",
    label: "Depth within 10 bps",
    unit: base,
    value: depth,
    line: (m) => (m.depth_10bps_exact ? depth(m) : null),
    text: quantity,
    bound: atLeastWords,
    extra: (m, i, p) => ["bid", "ask"].map((side) => depthText(p, side, i)).join(", "),
    formula: "quantity resting within 0.1 % of the mid, both sides; \u2265: the known book ends inside that band",
  },
  {
    name: "ofi",
    label: "OFI, 10 s",
    unit: base,
    text: signedQuantity,
    signs: 3,
    extra: () => "flow into bids minus asks",
    lack: () => "once 10 s were seen",
    formula: "order-flow imbalance: signed changes of quantity at the best bid and ask, summed over the last 10 s",
  },
  {
    name: "trade_cvd",
    label: "Trade CVD",
    unit: base,
    text: signedQuantity,
    signs: 3,
    extra: (m, i, p) => `since ${utcMinute(p.session_start_ms).slice(11)} UTC`,
    formula: "bought - sold by takers since the session began: the server's start, 00:00 UTC, or lost trades",
  },
  {
    name: "trade_rate",
    label: "Trade rate",
    unit: () => "per s",
    text: (v) => fixed(v, v < 10 ? 2 : 1),
    extra: () => "trades, recent",
    formula: "trades a second, lately",
  },
  {
    name: "realised_volatility",
    label: "Realised volatility",
    unit: () => "% p.a.",
    text: (v) => fixed(v, 1),
    extra: (m) => `${bps(m.realised_volatility_bps ?? NaN)} bps over 5 min`,
    formula: "square root of the sum of squared 1 s log returns of the mid over 300 s, scaled to a year",
  },
];

/** Paints into `section`. */
export function createMetrics(section) {
  const cards = CARDS.map(createCard);
  section.querySelector(".cards").append(...cards.map(({ card }) => card));
  const note = section.querySelector(".metrics-note");
  let paintedSecond = null;

  return {
    paint(view) {
      const { picture, samples } = view;
      for (const card of cards) paintCard(card, view);
      write(note, picture === null ? "" : `session since ${utcMinute(picture.session_start_ms)} UTC`);
      const second = samples.at(-1)?.second ?? null;
      if (second === paintedSecond) return;
      paintedSecond = second;
      for (const card of cards) drawLine(card, samples);
    },
  };
}

function createCard(spec) {
  const value = element("span", { class: "card-value" });
  const unit = element("span", { class: "card-unit" });
  const words = element("span", { class: "unseen" });
  const figures = element("span", { class: "card-figure" }, value, " ", unit, words);
  const extra = element("span", { class: "card-extra" });
  const line = drawing("path");
  const box = `0 0 ${LINE_WIDTH} ${LINE_HEIGHT}`;
  const frame = { class: "card-line", viewBox: box, preserveAspectRatio: "none", "aria-hidden": "true" };
  const lines = drawing("svg", frame, line);
  const card = element(
    "div",
    { class: "card", "data-metric": spec.name, title: titleOf(spec, "") },
    element("dt", {}, spec.label),
    element("dd", { class: "figure" }, figures, extra, lines),
  );
  const read = spec.value ?? ((metrics) => metrics[spec.name]);
  const drawn = spec.line ?? read;
  return { ...spec, card, valueNode: value, unitNode: unit, wordsNode: words, extraNode: extra, line, read, drawn };
}

function titleOf({ formula }, bound) {
  return `${bound === "" ? "" : `${bound}. `}${formula}. Line: up to 5 minutes seen here.`;
}

function paintCard(card, { picture, instrument }) {
  const value = picture === null ? null : (card.read(picture.metrics) ?? null);
  const known = Number.isFinite(value);
  attribute(card.card, "data-value", known ? value : null);
  attribute(card.card, "data-sign", known && card.signs ? signOf(value, card.signs) : null);
  const bound = known && card.bound !== undefined ? card.bound(picture, instrument) : "";
  attribute(card.card, "data-bound", bound !== "");
  attribute(card.card, "title", titleOf(card, bound));
  write(card.wordsNode, bound);
  write(card.valueNode, known ? (bound === "" ? "" : AT_LEAST) + card.text(value, instrument) : UNKNOWN);
  write(card.unitNode, picture === null ? "" : card.unit(instrument));
  if (known) write(card.extraNode, card.extra(picture.metrics, instrument, picture));
  else write(card.extraNode, picture === null ? "" : (card.lack?.(picture) ?? "not known"));
}

function drawLine({ line, drawn }, samples) {
  const runs = lineRuns(timeline(samples, drawn), LINE_WIDTH, LINE_HEIGHT);
  const path = runs.map((run) => `M${run.map(pair).join("L")}`);
  attribute(line, "d", path.join(""));
}

function pair([x, y]) {
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}

// The newest second at the right edge, one to five minutes across; seconds without a sample end the line.
function timeline(samples, read) {
  const newest = samples.at(-1)?.second ?? 0;
  const across = Math.min(SAMPLES_MAX, Math.max(LINE_S_MIN, newest - (samples[0]?.second ?? newest)));
  const points = [];
  samples.forEach(({ second, metrics }, at) => {
    const place = 1 - (newest - second) / across;
    if (at > 0 && second - samples[at - 1].second > 2) points.push({ at: place, value: null });
    points.push({ at: place, value: metrics === null ? null : (read(metrics) ?? null) });
  });
  return points.filter(({ at }) => at >= 0);
}

function total(left, right) {
  return left === null || right === null ? null : left + right;
}

function percentText(percent) {
  return `${fixed(percent, decimalsFor(percent, 3, 2, 8))} %`;
}
