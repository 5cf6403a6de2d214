// Data from the server: the feed of the selected symbol, and every request of the API. What arrives changes the page's
// state and marks what shows it. It knows no panel and decides nothing for the user.

import { Feed } from "./feed.js";
import { Fetcher } from "./fetcher.js";
import { applyCandles, applyOlder, MINUTE } from "./intervals.js";
import { chartKey, chartOf, followed, forgetOthers, progressOf } from "./page_model.js";
import { paceAfter } from "./replay_clock.js";
import { applyHistory, applyView, BARS_MAX, emptyBook, lacksNewest, startsOver } from "./state.js";

/** @import {Interval} from "./intervals.js" */
/** @import {Page, Statuses} from "./page_model.js" */
/** @import {Session} from "./session.js" */
/** @import {Candle, LatencyReport, ProofReport, StoreReport, SymbolList, View} from "./types.js" */

export const PROOF_MS = 2_000; // how often the proof is requested while its dialog is open
const HISTORY_LIMIT = 500;
const OLDER_LIMIT = 1_000; // bars a request further back; the most that the API gives
const EMPTY_HISTORY_MS = 5_000; // how soon an empty history is requested again
const NEW_MS = 20_000; // after the connection opened: how long one that lacks its newest minutes is
const NEWEST_BARS = 3; // the running bar of a longer interval is requested with those before it, every CHART_MS
const CHART_MS = 2_000;
const PROGRESS_MS = 5_000; // how often the progress of the history is requested while it is being loaded
const LISTING_MS = 1_000; // how often the symbols are requested while the server does not know all of them
const STORE_MS = 10_000;
const LATENCY_MS = 10_000;

const PHONE = window.matchMedia("(max-width: 760px)");

/** @typedef {ReturnType<typeof import("./api.js").addresses>} Server */

/** Everything that comes from the server, into one page's state. */
export class ServerData {
  #page;
  #server;
  #mark;
  #onSymbols;
  #feed;
  /** @type {Fetcher<Candle[], {symbol: string, interval: Interval}>} */
  #history;
  /** @type {Fetcher<Candle[], {symbol: string, interval: Interval, before: number}>} */
  #older;
  /** @type {Fetcher<SymbolList>} */
  #symbols;
  /** @type {Fetcher<StoreReport>} */
  #store;
  /** @type {Fetcher<LatencyReport>} */
  #latency;
  /** @type {Fetcher<ProofReport, string>} */
  #proof;
  /** @type {number | undefined} */
  #proofTimer;

  /**
   * @param {Page} page
   * @param {Server} server
   * @param {Session["platform"]} platform
   * @param {object} options
   * @param {(...names: string[]) => void} options.mark requests a paint of what shows these parts of the state
   * @param {(list: SymbolList) => void} options.onSymbols when the symbols have arrived, and are in the state
   */
  constructor(page, server, platform, { mark, onSymbols }) {
    this.#page = page;
    this.#server = server;
    this.#mark = mark;
    this.#onSymbols = onSymbols;
    const markTime = () => mark("time");
    this.#feed = new Feed({
      onView: (view) => this.#viewArrived(view),
      onChange: () => this.#connectionChanged(),
      onRefused: (detail) => this.#refused(detail),
      rate: () => (PHONE.matches ? "4hz" : "full"), // on a phone, data and battery count
      platform,
    });
    this.#history = new Fetcher({
      onData: (candles, subject) => this.#historyArrived(candles, subject),
      onChange: markTime,
      platform,
    });
    this.#older = new Fetcher({
      onData: (candles, subject) => this.#olderArrived(candles, subject),
      onChange: () => {},
      platform,
    });
    this.#symbols = new Fetcher({ onData: (list) => this.#symbolsArrived(list), onChange: markTime, platform });
    this.#store = new Fetcher({ onData: (report) => this.#storeArrived(report), onChange: () => {}, platform });
    this.#latency = new Fetcher({ onData: (report) => this.#latencyArrived(report), onChange: () => {}, platform });
    this.#proof = new Fetcher({
      onData: (body, symbol) => this.#proofArrived(body, symbol),
      onChange: () => mark("proof"),
      platform,
    });
  }

  /** Begin to request what is requested periodically, the symbols at once. */
  start() {
    setInterval(() => this.#requestRunningBar(), CHART_MS);
    setInterval(() => this.#requestStore(), STORE_MS);
    setInterval(() => this.#requestLatency(), LATENCY_MS);
    this.requestSymbols();
  }

  /** The status of the connection and of each request.
   * @returns {Statuses}
   */
  get statuses() {
    return {
      connection: this.#feed.status,
      history: this.#history.status,
      symbols: this.#symbols.status,
      proof: this.#proof.status,
    };
  }

  /** Subscribe to the selected symbol, in place of any other. */
  openFeed() {
    this.#older.stop();
    this.#feed.open(this.#server.feed(), this.#page.selected);
  }

  /** Try at once whatever waits or was refused. */
  retry() {
    if (this.#page.refusal === "") this.#feed.retryNow();
    else this.openFeed();
    this.#history.retryNow();
    this.#symbols.retryNow();
  }

  /** Request the candles again now. */
  retryHistory() {
    this.#history.retryNow();
  }

  /** Compare the connection with the clock; the device may have slept. */
  check() {
    this.#feed.check();
  }

  /**
   * Report to the server that this view is on the screen.
   * @param {View} view
   * @param {number} nowMs
   */
  shown(view, nowMs) {
    this.#feed.shown(view, nowMs);
  }

  /** Request the selected symbol's candles. */
  loadHistory(limit = HISTORY_LIMIT) {
    const { selected: symbol, interval } = this.#page;
    const url = this.#server.http("api/ohlcv", { symbol, interval: interval.name, limit });
    this.#history.load(url, { symbol, interval });
  }

  /** Request the candles before the oldest one that is known, unless there are none, or no more can be kept. */
  loadOlder() {
    const { selected: symbol, interval, firsts } = this.#page;
    const { bars } = this.#chart(symbol, interval);
    const before = bars[0]?.time;
    const isDone = before === undefined || bars.length >= BARS_MAX || firsts.get(chartKey(symbol, interval)) === before;
    const { phase } = this.#older.status;
    if (isDone || phase === "loading" || phase === "waiting") return;
    const range = { symbol, interval: interval.name, end: before - 1, limit: OLDER_LIMIT };
    this.#older.load(this.#server.http("api/ohlcv", range), { symbol, interval, before });
  }

  /**
   * @param {string} symbol
   * @param {Interval} interval
   */
  #chart(symbol, interval) {
    const { books } = this.#page;
    return interval === MINUTE ? (books.get(symbol) ?? emptyBook(symbol)) : chartOf(this.#page, symbol, interval);
  }

  /**
   * @param {Candle[]} candles
   * @param {{symbol: string, interval: Interval, before: number}} subject
   */
  #olderArrived(candles, { symbol, interval, before }) {
    const { books, charts, firsts } = this.#page;
    const key = chartKey(symbol, interval);
    if (candles.length === 0) firsts.set(key, before);
    const book = books.get(symbol);
    if (book === undefined) return; // it is no longer kept
    if (interval === MINUTE) books.set(symbol, applyHistory(book, candles));
    else charts.set(key, applyOlder(chartOf(this.#page, symbol, interval), candles));
    this.#mark("candles");
  }

  /** Request the symbols. */
  requestSymbols() {
    this.#symbols.load(this.#server.http("api/symbols"));
  }

  /** Request the proof of the selected symbol from now on. */
  startProof() {
    this.#page.proof = null;
    this.#proofTimer = window.setInterval(() => this.#requestProof(), PROOF_MS);
    this.#requestProof();
    this.#mark("proof");
  }

  /** Request it no longer. */
  stopProof() {
    clearInterval(this.#proofTimer);
    this.#proof.stop();
  }

  /** @param {SymbolList} list */
  #symbolsArrived(list) {
    const page = this.#page;
    const { selected } = page;
    const before = progressOf(page, selected);
    Object.assign(page, { symbols: list.symbols, listed: list.listed, source: list.source });
    forgetOthers(page);
    this.#mark("symbols");
    this.#onSymbols(list);
    // More of its past has arrived.
    if (page.selected === selected && progressOf(page, selected)?.minutes !== before?.minutes) {
      page.firsts.clear();
      this.loadHistory();
    }
    if (!list.is_listing_known) setTimeout(() => this.requestSymbols(), LISTING_MS);
    else if (list.symbols.some((one) => one.history && one.history.minutes < one.history.of))
      setTimeout(() => this.requestSymbols(), PROGRESS_MS);
  }

  /** @param {View} view */
  #viewArrived(view) {
    const page = this.#page;
    const known = page.books.get(view.symbol);
    if (known === undefined) return;
    const book = applyView(known, view, Date.now());
    page.books.set(view.symbol, book);
    page.source = view.source;
    page.pace = paceAfter(page.pace, view, book.receivedAtMs);
    if (view.symbol !== page.selected) return;
    page.shown = view.symbol;
    page.refusal = "";
    // It has just been started.
    if (known.view === null && followed(page, view.symbol) === undefined) this.requestSymbols();
    const hasGap = (book.bars !== known.bars || (!known.live && book.live)) && lacksNewest(book);
    if (hasGap || startsOver(known.view, view)) this.loadHistory();
    this.#mark("time", "book", "trades"); // the chart, far more expensive to draw, follows with the next tick
  }

  #connectionChanged() {
    const page = this.#page;
    const { openedAtMs } = this.#feed.status;
    // Minutes that closed while disconnected are in the store, not in the next view.
    const reopened = page.openedAtMs !== 0 && page.openedAtMs !== openedAtMs;
    page.openedAtMs = openedAtMs;
    if (reopened && this.#history.status.phase !== "loading") this.loadHistory();
    this.#mark("time");
  }

  /** @param {string} detail */
  #refused(detail) {
    this.#page.refusal = detail;
    this.#mark("time");
  }

  /** A minute's running candle is in each view; that of a longer interval is requested. */
  #requestRunningBar() {
    if (this.#page.interval === MINUTE || this.#history.status.phase !== "ready") return;
    this.loadHistory(NEWEST_BARS);
  }

  /**
   * @param {Candle[]} candles
   * @param {{symbol: string, interval: Interval}} subject
   */
  #historyArrived(candles, { symbol, interval }) {
    const page = this.#page;
    const book = applyHistory(page.books.get(symbol) ?? emptyBook(symbol), interval === MINUTE ? candles : []);
    if (interval === MINUTE) page.books.set(symbol, book);
    else page.charts.set(chartKey(symbol, interval), applyCandles(chartOf(page, symbol, interval), candles));
    this.#mark("candles");
    // A server that has just started is still loading the history, its newest minutes too.
    const isNew = Date.now() - page.openedAtMs < NEW_MS;
    if (candles.length === 0 || (isNew && lacksNewest(book)))
      setTimeout(() => this.#reloadHistory(symbol), EMPTY_HISTORY_MS);
    if (page.refusal !== "" && symbol === page.selected) this.retry(); // there is room for it now
  }

  /** @param {string} symbol */
  #reloadHistory(symbol) {
    if (this.#history.status.phase === "ready" && this.#page.selected === symbol) this.loadHistory();
  }

  #requestStore() {
    if (this.#feed.status.phase === "open") this.#store.load(this.#server.http("api/store"));
  }

  /** @param {StoreReport} report */
  #storeArrived(report) {
    this.#page.store = report;
    this.#mark("time");
  }

  #requestLatency() {
    if (this.#feed.status.phase === "open" && !document.hidden) this.#latency.load(this.#server.http("api/latency"));
  }

  /** @param {LatencyReport} report */
  #latencyArrived(report) {
    this.#page.latency = report;
    this.#mark("latency");
  }

  /** @param {string} symbol */
  #proofUrl(symbol) {
    return this.#server.http(`api/proof/${encodeURIComponent(symbol)}`);
  }

  #requestProof() {
    const { selected } = this.#page;
    if (selected === "" || this.#proof.status.phase === "loading") return;
    this.#proof.load(this.#proofUrl(selected), selected);
  }

  /**
   * @param {ProofReport} body
   * @param {string} symbol
   */
  #proofArrived(body, symbol) {
    const url = this.#proofUrl(symbol);
    this.#page.proof = { body, readAtMs: Date.now(), url, instrument: followed(this.#page, symbol) };
  }
}
