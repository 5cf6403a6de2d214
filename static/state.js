// What the page knows, as pure functions from old state and a message to new state: the newest view of each symbol,
// merged trades, bars, and the status that says whether they may be trusted. No sockets, no document, no clock.

import { waitText } from "./format.js";
import { baseline } from "./shield.js";
import { streamAge } from "./streams.js";
import { addTrades } from "./trade_list.js";

/** @import {ConnectionStatus} from "./connection.js" */
/** @import {Baseline} from "./shield.js" */
/** @import {Candle, CandleSource, Level, Metrics, Source, State, StoreReport, Trade, View} from "./types.js" */

export const BARS_MAX = 50_000; // kept bars of one interval: 30 days of minutes are 43,200
export const SAMPLES_MAX = 300; // kept seconds of metrics: five minutes of sparklines
export const MINUTE_S = 60;
const RECENT_BARS = 10; // how far back a gap is still requested again, once a minute
export const SILENCE_STALE_MS = 3_000; // the server sends at least once a second

/** One candle of the chart; `time` is its open in seconds, `missing` how many of its minutes are not there, and
 * `isReconciled` whether the exchange's own candle is known to equal it.
 * @typedef {object} Bar
 * @property {number} time
 * @property {number} open
 * @property {number} high
 * @property {number} low
 * @property {number} close
 * @property {number} volume
 * @property {number} quoteVolume
 * @property {number} takerBuyVolume
 * @property {number} missing
 * @property {CandleSource} source
 * @property {boolean} isReconciled
 */

/** The metrics of one second; null while the book was not live.
 * @typedef {{second: number, metrics: Metrics | null}} Sample
 */

/** Everything kept of one symbol: trades newest first, closed minutes as `bars` oldest first, the running one as
 * `live`; `joined` holds the proof's counters when the server's book was joined.
 * @typedef {object} Book
 * @property {string} symbol
 * @property {View | null} view
 * @property {number} receivedAtMs
 * @property {Trade[]} trades
 * @property {number} received how many trades have arrived, the ones no longer kept included
 * @property {Bar[]} bars
 * @property {Bar | null} live
 * @property {Sample[]} samples
 * @property {Baseline | null} joined
 */

/**
 * Return the state of a symbol of which nothing is known.
 * @param {string} symbol
 * @returns {Book}
 */
export function emptyBook(symbol) {
  return {
    symbol,
    view: null,
    receivedAtMs: 0,
    trades: [],
    received: 0,
    bars: [],
    live: null,
    samples: [],
    joined: null,
  };
}

/**
 * Return the book after `view`, received at `nowMs`; the same object when the view is older than the known one.
 * @param {Book} book
 * @param {View} view
 * @param {number} nowMs
 * @returns {Book}
 */
export function applyView(book, view, nowMs) {
  if (view.symbol !== book.symbol || isOlder(book.view, view)) return book;
  const kept = startsOver(book.view, view) ? emptyBook(book.symbol) : book;
  const { trades, added } = addTrades(kept.trades, view.trades);
  return {
    symbol: book.symbol,
    view,
    receivedAtMs: nowMs,
    trades,
    received: book.received + added,
    bars: view.closed_candle ? mergeBars(kept.bars, [barOf(view.closed_candle)]) : kept.bars,
    live: view.candle ? barOf(view.candle) : null,
    samples: sampled(kept.samples, view, nowMs),
    joined: baseline(kept.joined, kept.view, view),
  };
}

/**
 * Return what of `book` can be painted: no numbers until the symbol's assets and decimals are known.
 * @param {Book} book
 * @returns {Book}
 */
export function paintable(book) {
  return book.view?.instrument === null ? { ...book, view: null, trades: [] } : book;
}

/**
 * Within one process the sequence orders views; between two processes nothing does, so the later one counts.
 * @param {View | null} known
 * @param {View} view
 */
function isOlder(known, view) {
  return known !== null && known.instance === view.instance && view.seq < known.seq;
}

/**
 * Whether `view` has nothing in common with the one before: another source, or a simulation or replay that restarted
 * and repeats its ids with other contents. An exchange never does that.
 * @param {View | null} known
 * @param {View} view
 */
export function startsOver(known, view) {
  if (known === null) return false;
  if (known.source !== view.source) return true;
  return known.instance !== view.instance && view.source !== "exchange";
}

/**
 * Return the book with closed candles added, oldest first as `/api/ohlcv` sends them; a fetched bar replaces one of
 * the same minute.
 * @param {Book} book
 * @param {Candle[]} candles
 * @returns {Book}
 */
export function applyHistory(book, candles) {
  return { ...book, bars: mergeBars(book.bars, barsOf(candles.filter((candle) => candle.is_closed !== false))) };
}

/**
 * Return candles as the chart's bars.
 * @param {Candle[]} candles
 */
export function barsOf(candles) {
  return candles.map(barOf);
}

/**
 * @param {Candle} candle
 * @returns {Bar}
 */
function barOf(candle) {
  const { open, high, low, close, volume, source, missing_minutes: missing = 0 } = candle;
  const { quote_volume: quoteVolume, taker_buy_volume: takerBuyVolume, reconciled: isReconciled = false } = candle;
  const time = Date.parse(candle.timestamp) / 1000;
  return { time, open, high, low, close, volume, quoteVolume, takerBuyVolume, missing, source, isReconciled };
}

/**
 * Return the bars by rising time, one a minute, the incoming one where both have it; the same list when nothing is new.
 * @param {Bar[]} bars
 * @param {Bar[]} incoming
 */
export function mergeBars(bars, incoming, most = BARS_MAX) {
  const first = incoming.reduce((least, { time }) => Math.min(least, time), Infinity);
  const at = bars.findLastIndex(({ time }) => time < first) + 1; // what is older stays as it is
  const byTime = new Map(bars.slice(at).map((bar) => [bar.time, bar]));
  const fresh = incoming.filter((bar) => !sameBar(byTime.get(bar.time), bar));
  if (fresh.length === 0) return bars;
  for (const bar of fresh) byTime.set(bar.time, bar);
  const newer = [...byTime.values()].sort((left, right) => left.time - right.time);
  return [...bars.slice(0, at), ...newer].slice(-most);
}

/** @type {(keyof Bar)[]} */
const BAR_FIELDS = [
  "time",
  "open",
  "high",
  "low",
  "close",
  "volume",
  "quoteVolume",
  "takerBuyVolume",
  "missing",
  "source",
  "isReconciled",
];

/**
 * Whether two bars of one minute are equal; an undefined one equals none.
 * @param {Bar | undefined} known
 * @param {Bar} bar
 */
export function sameBar(known, bar) {
  return known !== undefined && BAR_FIELDS.every((name) => known[name] === bar[name]);
}

/**
 * Whether `bars` only continues `painted`, all but the last bar being the very same: then a chart can append.
 * @param {Bar[]} painted
 * @param {Bar[]} bars
 */
export function continues(painted, bars) {
  if (painted.length === 0) return bars.length === 0;
  if (bars.length < painted.length) return false;
  const last = painted.length - 1;
  if (bars[last].time !== painted[last].time) return false;
  return painted.slice(0, last).every((bar, at) => bar === bars[at]);
}

/**
 * Whether a minute among the newest ones is missing: the server may have fetched it since, so it is worth a request.
 * @param {{time: number}[]} bars
 */
export function missesMinute(bars) {
  const recent = bars.slice(-RECENT_BARS);
  return recent.some((bar, at) => at > 0 && bar.time - recent[at - 1].time > MINUTE_S);
}

/**
 * Whether a minute is missing among the newest closed ones, or between them and the running one.
 * @param {Pick<Book, "bars" | "live">} book
 */
export function lacksNewest({ bars, live }) {
  return missesMinute(live === null ? bars : [...bars, live]);
}

/** @typedef {"up" | "down"} Change */

/**
 * Return what changed on one side, by price. A level that became visible because the book moved has not changed: a new
 * price counts only inside the range that was visible before.
 * @param {Level[]} before
 * @param {Level[]} after
 */
export function levelChanges(before, after) {
  /** @type {Map<number, Change>} */
  const changes = new Map();
  if (before.length === 0) return changes;
  const known = new Map(before);
  const edge = before[before.length - 1][0];
  const falling = before[0][0] >= edge;
  for (const [price, quantity] of after) {
    const old = known.get(price);
    if (old === undefined && (falling ? price < edge : price > edge)) continue;
    if (old === undefined || quantity > old) changes.set(price, "up");
    else if (quantity < old) changes.set(price, "down");
  }
  return changes;
}

/**
 * Add one sample a second; a view that is not live leaves a gap.
 * @param {Sample[]} samples
 * @param {View} view
 * @param {number} nowMs
 */
function sampled(samples, view, nowMs) {
  const second = Math.floor(nowMs / 1000);
  if (samples.length > 0 && samples[samples.length - 1].second >= second) return samples;
  const metrics = view.state === "live" ? view.metrics : null;
  return [...samples, { second, metrics }].slice(-SAMPLES_MAX);
}

/** @typedef {State | "connecting" | "disconnected" | "refused" | "fault"} StatusKind */

/** Whether the data on the screen may be trusted: `kind` for programs, `text` for the user. `ageMs` is the time since
 * the server last received an update of this symbol's book, null for never; `hasAge` is true when the text contains it
 * already.
 * @typedef {{kind: StatusKind, text: string, hasAge: boolean, ageMs: number | null, trusted: boolean}} BookStatus
 */

/**
 * Return the status of the displayed book; `trusted` is true for live alone.
 * @param {object} known
 * @param {ConnectionStatus} known.connection
 * @param {Book | undefined} known.book
 * @param {number} known.nowMs
 * @param {number} [known.sinceMs] since when the symbol is subscribed to; a view from before is not of now
 * @param {string} [known.refusal] why the server does not send the selected symbol
 * @param {string} [known.fault] an error in the page's own code
 * @returns {BookStatus}
 */
export function bookStatus({ connection, book, nowMs, sinceMs = 0, refusal = "", fault = "" }) {
  const view = book?.view ?? null;
  const receivedAtMs = book?.receivedAtMs ?? 0;
  // The age of the book's own stream: others may go on while it stands still.
  const ageMs = streamAge({ view, receivedAtMs }, "depth", nowMs);
  /** @type {(kind: StatusKind, text: string, hasAge?: boolean) => BookStatus} */
  const status = (kind, text, hasAge = false) => ({ kind, text, hasAge, ageMs, trusted: kind === "live" });
  if (fault !== "") return status("fault", `Page error: ${fault}. Reload the page.`);
  if (connection.phase !== "open") return status(...disconnected(connection, nowMs));
  if (refusal !== "") return status("refused", `${book?.symbol} not available: ${refusal}`);
  const silenceMs = nowMs - connection.lastMessageAtMs;
  if (silenceMs > SILENCE_STALE_MS) return status("stale", `Stale: server silent for ${seconds(silenceMs)}`, true);
  if (view === null || receivedAtMs < Math.max(connection.openedAtMs, sinceMs))
    return status("connecting", "Connected: waiting for data");
  if (view.state === "stale" && !view.state_reason) {
    return status("stale", `Stale: no update for ${seconds(ageMs)}`, true);
  }
  if (view.state === "live" && view.instrument === null) {
    return status("syncing", "Syncing: waiting for the symbol's tick size from the exchange");
  }
  return status(view.state, stateText(view));
}

/**
 * @param {ConnectionStatus} connection
 * @param {number} nowMs
 * @returns {[StatusKind, string]}
 */
function disconnected({ phase, attempt, retryAtMs }, nowMs) {
  if (phase === "waiting") return ["disconnected", `Disconnected: reconnecting in ${waitText(retryAtMs, nowMs)}`];
  if (phase === "idle" || attempt === 0) return ["connecting", "Connecting"];
  return ["disconnected", "Disconnected: reconnecting now"];
}

/** @type {Record<Source, string>} */
const LIVE_TEXT = { exchange: "Live", simulation: "Live simulation", replay: "Replay" };
/** @type {Record<State, string>} */
const STATE_TEXT = { live: "Live", syncing: "Syncing", stale: "Stale", halted: "Halted", offline: "Offline" };

/** @param {View} view */
function stateText({ state, state_reason: reason, source }) {
  if (state === "live") return LIVE_TEXT[source] ?? "Live";
  const text = STATE_TEXT[state] ?? state;
  return reason ? `${text}: ${reason}` : text;
}

/** @param {number | null} milliseconds */
function seconds(milliseconds) {
  return `${Math.floor((milliseconds ?? 0) / 1000)} s`;
}

/**
 * Return the text for a store that is not available, with the number of candles that wait; "" while it is.
 * @param {Pick<StoreReport, "ok" | "pending"> | null} store
 */
export function storeText(store) {
  return store === null || store.ok ? "" : `Candle storage not available, ${store.pending} waiting`;
}

/**
 * Return the sentence that says that a source is not the market; "" for the exchange itself.
 * @param {Source | ""} source
 */
export function sourceText(source) {
  if (source === "simulation") return "Simulation: no real market data";
  return source === "replay" ? "Replay of a recording: not live data" : "";
}
