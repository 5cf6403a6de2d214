// The header's live part: last price, quotes, pressure, the data source, the status of the server and of the book, the
// shield, the pause note, the notice, the page's title and the spoken summary. It paints a status; it decides nothing.

import { find, setAttr, setFill, setText, setVisible } from "./dom.js";
import { age, bps, counted, fixed, isKnown, UNKNOWN, utcTime } from "./format.js";
import { replayText } from "./replay_clock.js";
import { shield } from "./shield.js";
import { SILENCE_STALE_MS, sourceText, storeText } from "./state.js";
import { silentKinds } from "./streams.js";
import { lastTrade } from "./trade_list.js";

/** @import {ConnectionStatus} from "./connection.js" */
/** @import {PanelModel} from "./page_model.js" */
/** @import {BookStatus} from "./state.js" */
/** @import {Direction} from "./trade_list.js" */
/** @import {View} from "./types.js" */

const ANNOUNCE_MS_MIN = 5_000;
/** @type {Record<Direction, string>} */
const ARROWS = { 1: "\u25b2", "-1": "\u25bc", 0: "" };
/** @type {Record<Direction, string>} */
const DIRECTIONS = { 1: "up", "-1": "down", 0: "" };

/** @typedef {ReturnType<typeof findNodes>} Nodes */

/**
 * Paint into the page around `root`; `onRetry()` is the user's "retry now", `onClose()` closes the notice.
 * @param {HTMLElement} root
 * @param {{onRetry: () => void, onClose: () => void}} options
 */
export function createStrip(root, { onRetry, onClose }) {
  const nodes = findNodes(root);
  nodes.retry.addEventListener("click", onRetry);
  find(nodes.notice, "button").addEventListener("click", onClose);
  let spokenAtMs = 0;

  /** @param {PanelModel} model */
  function speak(model) {
    if (model.nowMs - spokenAtMs < ANNOUNCE_MS_MIN || model.paused !== null) return;
    spokenAtMs = model.nowMs;
    setText(nodes.spoken, summary(model));
  }

  return {
    /**
     * Paint the part that changes with time alone.
     * @param {PanelModel} model
     */
    paintState(model) {
      paintBookState(nodes, model);
      paintServer(nodes, model);
      paintPause(nodes, model);
      paintSource(nodes.source, model);
      paintInstance(nodes.instance, model);
      paintShield(nodes, model);
      setVisible(nodes.notice, model.notice !== "");
      setText(nodes.noticeText, model.notice);
      setAttr(root, "data-silent", silentKinds(model).join(" ") || null);
      paintTitle(model);
      speak(model);
    },
    paintTitle,
    /**
     * Paint the part that changes with the view.
     * @param {PanelModel} model
     */
    paintPrice(model) {
      paintMarket(nodes, model);
      paintLast(nodes, model);
      paintQuotes(nodes, model);
      paintPressure(nodes, model.view?.metrics.imbalance ?? null);
    },
  };
}

/** @param {HTMLElement} root */
function findNodes(root) {
  return {
    source: find(root, ".source"),
    market: find(root, ".market-symbol"),
    venue: find(root, ".market-venue"),
    last: find(root, ".last"),
    lastPrice: find(root, ".last-price"),
    lastArrow: find(root, ".last-arrow"),
    lastWord: find(root, ".last-word"),
    bid: find(root, "[data-testid=best-bid]"),
    ask: find(root, "[data-testid=best-ask]"),
    spread: find(root, "[data-testid=spread]"),
    pressureBids: find(root, ".pressure-bids"),
    pressureAsks: find(root, ".pressure-asks"),
    pressure: find(root, ".pressure"),
    pressureBid: find(root, ".pressure .pressure-bid"),
    server: find(root, ".server"),
    state: find(root, ".state"),
    text: find(root, ".state-text"),
    age: find(root, ".state-age"),
    retry: find(root, ".state .retry"),
    pause: find(root, ".pause"),
    pauseText: find(root, ".pause-text"),
    instance: find(root, ".instance"),
    clock: find(root, ".clock"),
    spoken: find(root, "[role=status][aria-live]"),
    shield: find(root, ".shield"),
    shieldText: find(root, ".shield-text"),
    shieldReason: find(root, ".shield-reason"),
    notice: find(root, ".notice"),
    noticeText: find(root, ".notice-text"),
  };
}

/**
 * @param {Nodes} nodes
 * @param {PanelModel} model
 */
function paintBookState(nodes, { status, connection, isRetryable, paused, newTrades, nowMs }) {
  const text = paused === null ? status.text : pausedText(paused.atMs, newTrades, status);
  setText(nodes.text, text);
  setText(nodes.age, paused === null ? ageText(status) : "");
  // A long text is cut; an untrusted book has the whole of it over its rows, too.
  setAttr(nodes.state, "title", [text, connection.reason].filter(Boolean).join(" \u00b7 "));
  setVisible(nodes.retry, isRetryable);
  setText(nodes.clock, utcTime(nowMs));
}

/**
 * @param {Nodes} nodes
 * @param {PanelModel} model
 */
function paintServer(nodes, { connection, store, nowMs }) {
  const stored = storeText(store);
  setText(nodes.server, [serverText(connection, nowMs), stored].filter(Boolean).join(" \u00b7 "));
  setAttr(nodes.server, "title", stored === "" ? null : store?.detail);
  setAttr(nodes.server, "data-stores", stored === "" ? null : "no");
  setAttr(nodes.server, "data-phase", connection.phase);
}

/**
 * @param {Nodes} nodes
 * @param {PanelModel} model
 */
function paintPause(nodes, { paused }) {
  setAttr(nodes.pause, "aria-pressed", String(paused !== null));
  setText(nodes.pauseText, paused === null ? "Pause" : "Resume");
}

/**
 * @param {Nodes} nodes
 * @param {PanelModel} model
 */
function paintShield(nodes, model) {
  const { isVerified, text, reason } = shield(model);
  setAttr(nodes.shield, "data-verified", isVerified ? "yes" : "no");
  setAttr(nodes.shield, "title", reason || null);
  setText(nodes.shieldText, text);
  setText(nodes.shieldReason, reason);
}

/** @param {BookStatus} status */
function ageText({ kind, ageMs, hasAge }) {
  if (ageMs === null || hasAge || kind === "fault") return "";
  return kind === "live" ? age(ageMs) : `last data ${age(ageMs)} ago`;
}

/**
 * Return the status of the connection; one that is open and silent is not called connected.
 * @param {ConnectionStatus} connection
 * @param {number} nowMs
 */
export function serverText({ phase, attempt, reason, lastMessageAtMs }, nowMs) {
  const silenceMs = nowMs - lastMessageAtMs;
  if (phase === "open" && silenceMs > SILENCE_STALE_MS) return `Server: silent for ${age(silenceMs)}`;
  if (phase === "open") return "Server: connected";
  if (phase === "waiting") return `Server: ${reason || "disconnected"}`;
  return attempt > 0 ? "Server: reconnecting" : "Server: connecting";
}

/**
 * Data keeps arriving behind a paused display, and may become stale there: then both are displayed.
 * @param {number} atMs
 * @param {number} newTrades
 * @param {BookStatus} status
 */
function pausedText(atMs, newTrades, { trusted, text }) {
  const arrived = newTrades > 0 ? ` \u00b7 ${counted(newTrades, "new trade", "new trades")}` : "";
  return `Paused ${utcTime(atMs)}${arrived}${trusted ? "" : ` \u00b7 ${text}`}`;
}

/**
 * @param {HTMLElement} node
 * @param {PanelModel} model
 */
function paintSource(node, { source, view, pace }) {
  const clock = source === "replay" ? replayText(view, pace) : "";
  const text = [sourceText(source), clock].filter(Boolean).join(" \u00b7 ");
  setVisible(node, text !== "");
  setAttr(node, "data-source", source || null);
  if (text !== "") setText(node, text);
}

/** @type {Record<string, string>} */
const VENUES = { us: "Binance.US", com: "Binance.com", vision: "Binance.com data" };

/**
 * Return a venue's name as its users know it.
 * @param {string} venue
 */
export function venueText(venue) {
  return VENUES[venue] ?? venue;
}

/**
 * Return which process of the server made a view, and from which venue; "" without a view.
 * @param {Pick<View, "instance" | "venue"> | null} view
 */
export function instanceText(view) {
  return view === null ? "" : `Instance ${view.instance}, venue ${view.venue}`;
}

/**
 * @param {HTMLElement} node
 * @param {PanelModel} model
 */
function paintInstance(node, { view }) {
  const text = instanceText(view);
  setText(node, text);
  setAttr(node, "title", text || null);
}

/**
 * Return the page's title: a price that is not live never appears without a mark, nor another symbol's.
 * @param {Pick<PanelModel, "view" | "instrument" | "trades" | "status" | "paused" | "selected">} model
 */
export function titleText({ view, instrument, trades, status, paused, selected }) {
  const last = view?.symbol === selected ? lastTrade(trades) : null;
  const price = last === null || instrument === null ? "" : `${fixed(last.price, instrument.price_decimals)} `;
  const kind = paused === null ? status.kind : "paused";
  const mark = kind === "live" ? "" : `(${kind}) `;
  return [`${mark}${price}${selected}`.trim(), "Pulse Terminal"].filter(Boolean).join(" \u00b7 ");
}

/** @param {PanelModel} model */
function paintTitle(model) {
  const title = titleText(model);
  if (document.title !== title) document.title = title;
}

/**
 * Paint whose numbers these are: for a moment after a switch still those of the symbol before.
 * @param {Nodes} nodes
 * @param {PanelModel} model
 */
function paintMarket(nodes, { view, instrument, selected }) {
  const assets = !instrument?.base_asset ? null : `${instrument.base_asset}/${instrument.quote_asset}`;
  setText(nodes.market, assets ?? view?.symbol ?? selected);
  setText(nodes.venue, view === null ? "" : venueText(view.venue));
}

/**
 * @param {Nodes} nodes
 * @param {PanelModel} model
 */
function paintLast(nodes, { trades, instrument }) {
  const last = lastTrade(trades);
  const direction = last?.direction ?? 0;
  setAttr(nodes.last, "data-direction", direction);
  setAttr(nodes.last, "data-price", last?.price);
  setText(nodes.lastPrice, fixed(last?.price, instrument?.price_decimals ?? 2));
  setText(nodes.lastArrow, ARROWS[direction]);
  setText(nodes.lastWord, DIRECTIONS[direction]);
}

/**
 * @param {Nodes} nodes
 * @param {PanelModel} model
 */
function paintQuotes(nodes, { view, instrument }) {
  const metrics = view?.metrics;
  const decimals = instrument?.price_decimals ?? 2;
  setText(nodes.bid, fixed(metrics?.best_bid, decimals));
  setText(nodes.ask, fixed(metrics?.best_ask, decimals));
  const isQuoted = isKnown(metrics?.spread_abs) && isKnown(metrics?.spread_bps);
  setText(
    nodes.spread,
    isQuoted ? `${fixed(metrics?.spread_abs, decimals)} (${bps(metrics?.spread_bps)} bps)` : UNKNOWN,
  );
}

/**
 * @param {Nodes} nodes
 * @param {number | null} imbalance
 */
function paintPressure(nodes, imbalance) {
  const bids = imbalance === null ? null : (1 + imbalance) / 2;
  setText(nodes.pressureBids, bids === null ? UNKNOWN : `Bids ${fixed(bids * 100, 0)} %`);
  setText(nodes.pressureAsks, bids === null ? UNKNOWN : `${fixed(100 - Math.round(bids * 100), 0)} % asks`);
  setAttr(nodes.pressure, "data-known", bids === null ? "no" : null);
  setFill(nodes.pressureBid, bids ?? 0);
}

/** @param {PanelModel} model */
function summary({ view, instrument, status }) {
  if (view === null || instrument === null) return status.text;
  const { best_bid: bid, best_ask: ask, spread_abs: spread } = view.metrics;
  /** @type {[string, number | null][]} */
  const named = [
    ["best bid", bid],
    ["best ask", ask],
    ["spread", spread],
  ];
  const figures = named
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${fixed(value, instrument.price_decimals)}`);
  return [view.symbol, ...figures, status.text].join(", ");
}
