// The header's live part: last price, quotes, pressure, what the source is, how the server and the book stand, the
// pause note, the page's title and the spoken summary. It is given a verdict and paints it; it decides nothing.

import { attribute, show, slide, write } from "../dom.js";
import { age, bps, counted, fixed, UNKNOWN, utcTime } from "../format.js";
import { lastTrade, sourceWords, storeWords } from "../state.js";

const ANNOUNCE_MS_MIN = 5_000;
const ARROWS = { 1: "\u25b2", "-1": "\u25bc", 0: "" };
const DIRECTIONS = { 1: "up", "-1": "down", 0: "" };

/** Paints into the page around `root`; `onRetry()` is the reader's "retry now". */
export function createStatus(root, { onRetry }) {
  const find = (selector) => root.querySelector(selector);
  const nodes = {
    source: find(".source"),
    last: find(".last"),
    lastPrice: find(".last-price"),
    lastArrow: find(".last-arrow"),
    lastWord: find(".last-word"),
    bid: find("[data-testid=best-bid]"),
    ask: find("[data-testid=best-ask]"),
    spread: find("[data-testid=spread]"),
    pressureBids: find(".pressure-bids"),
    pressureAsks: find(".pressure-asks"),
    pressure: find(".pressure"),
    pressureBid: find(".pressure .pressure-bid"),
    server: find(".server"),
    state: find(".state"),
    words: find(".state-words"),
    age: find(".state-age"),
    retry: find(".state .retry"),
    pause: find(".pause"),
    pauseWords: find(".pause-words"),
    clock: find(".clock"),
    spoken: find("[role=status]"),
  };
  nodes.retry.addEventListener("click", onRetry);
  let spokenAtMs = 0;

  function paintStanding({ verdict, connection, store, retryable, paused, waiting, nowMs }) {
    write(nodes.words, paused === null ? verdict.words : pausedWords(paused, waiting, verdict));
    write(nodes.age, paused === null ? ageWords(verdict) : "");
    attribute(nodes.state, "title", connection.reason || null);
    write(nodes.server, [serverWords(connection), storeWords(store)].filter(Boolean).join(" \u00b7 "));
    attribute(nodes.server, "title", storeWords(store) === "" ? null : store.detail);
    attribute(nodes.server, "data-stores", storeWords(store) === "" ? null : "no");
    attribute(nodes.server, "data-phase", connection.phase);
    show(nodes.retry, retryable);
    write(nodes.clock, utcTime(nowMs));
  }

  function paintPause({ paused }) {
    attribute(nodes.pause, "aria-pressed", String(paused !== null));
    write(nodes.pauseWords, paused === null ? "Pause" : "Resume");
  }

  function speak(view) {
    if (view.nowMs - spokenAtMs < ANNOUNCE_MS_MIN || view.paused !== null) return;
    spokenAtMs = view.nowMs;
    write(nodes.spoken, summary(view));
  }

  return {
    /** The part that changes with time alone. */
    paintState(view) {
      paintStanding(view);
      paintPause(view);
      paintSource(nodes.source, view.source);
      paintTitle(view);
      speak(view);
    },
    /** The part that changes with the picture. */
    paintPrice(view) {
      paintLast(nodes, view);
      paintQuotes(nodes, view);
      paintPressure(nodes, view.picture?.metrics.imbalance ?? null);
    },
  };
}

function ageWords({ kind, ageMs, counts }) {
  if (ageMs === null || counts || kind === "fault") return "";
  return kind === "live" ? age(ageMs) : `last data ${age(ageMs)} ago`;
}

function serverWords({ phase, attempt, reason }) {
  if (phase === "open") return "Server: connected";
  if (phase === "waiting") return `Server: ${reason || "disconnected"}`;
  return attempt > 0 ? "Server: trying again" : "Server: connecting";
}

// Data keeps arriving behind a held picture, and may go bad there: then both are said.
function pausedWords({ atMs }, waiting, { trusted, words }) {
  const kept = waiting > 0 ? ` \u00b7 ${counted(waiting, "trade", "trades")} waiting` : "";
  return `Paused at ${utcTime(atMs)} UTC${kept}${trusted ? "" : ` \u00b7 ${words}`}`;
}

function paintSource(node, source) {
  const words = sourceWords(source);
  show(node, words !== "");
  attribute(node, "data-source", source || null);
  if (words !== "") write(node, words);
}

function paintTitle({ picture, instrument, trades, verdict, paused }) {
  const last = lastTrade(trades);
  if (picture === null || last === null) return;
  const price = `${fixed(last.price, instrument.price_decimals)} ${picture.symbol}`;
  const mark = paused === null ? verdict.kind : "paused";
  const title = `${mark === "live" ? "" : `(${mark}) `}${price} \u00b7 Pulse Terminal`;
  if (document.title !== title) document.title = title;
}

function paintLast(nodes, { trades, instrument }) {
  const last = lastTrade(trades);
  const direction = last === null ? 0 : last.direction;
  attribute(nodes.last, "data-direction", direction);
  attribute(nodes.last, "data-price", last === null ? null : last.price);
  write(nodes.lastPrice, last === null ? UNKNOWN : fixed(last.price, instrument.price_decimals));
  write(nodes.lastArrow, ARROWS[direction]);
  write(nodes.lastWord, DIRECTIONS[direction]);
}

function paintQuotes(nodes, { picture, instrument }) {
  const metrics = picture?.metrics ?? {};
  const decimals = instrument?.price_decimals ?? 2;
  write(nodes.bid, fixed(metrics.best_bid ?? NaN, decimals));
  write(nodes.ask, fixed(metrics.best_ask ?? NaN, decimals));
  const known = Number.isFinite(metrics.spread_abs) && Number.isFinite(metrics.spread_bps);
  write(nodes.spread, known ? `${fixed(metrics.spread_abs, decimals)} (${bps(metrics.spread_bps)} bps)` : UNKNOWN);
}

function paintPressure(nodes, imbalance) {
  const bids = imbalance === null ? null : (1 + imbalance) / 2;
  write(nodes.pressureBids, bids === null ? UNKNOWN : `Bids ${fixed(bids * 100, 0)} %`);
  write(nodes.pressureAsks, bids === null ? UNKNOWN : `${fixed(100 - Math.round(bids * 100), 0)} % asks`);
  attribute(nodes.pressure, "data-known", bids === null ? "no" : null);
  slide(nodes.pressureBid, bids ?? 0);
}

function summary({ picture, instrument, verdict }) {
  if (picture === null) return verdict.words;
  const { best_bid: bid, best_ask: ask, spread_abs: spread } = picture.metrics;
  const decimals = instrument.price_decimals;
  const figures = [
    ["best bid", bid],
    ["best ask", ask],
    ["spread", spread],
  ]
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${fixed(value, decimals)}`);
  return [picture.symbol, ...figures, verdict.words].join(", ");
}
