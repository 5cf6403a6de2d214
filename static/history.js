// The candles of one symbol: requested, extended further back, and requested again where the newest are missing. What
// arrives changes the symbol's store. It knows no panel and decides nothing for the user.

import { Fetcher } from "./fetcher.js";
import { applyCandles, applyOlder, applyRunning, EMPTY_CHART, intervalOf, MINUTE } from "./intervals.js";
import { chartOf } from "./page_model.js";
import { applyHistory, BARS_MAX, lacksNewest, startsOver } from "./state.js";

/** @import {Server} from "./data.js" */
/** @import {Interval} from "./intervals.js" */
/** @import {Page, SymbolStore} from "./page_model.js" */
/** @import {Session} from "./session.js" */
/** @import {Book} from "./state.js" */
/** @import {Candle, Topics, View} from "./types.js" */

const HISTORY_LIMIT = 500;
const OLDER_LIMIT = 1_000; // bars a request further back; the most that the API gives
const EMPTY_HISTORY_MS = 5_000; // how soon an empty history is requested again
const NEW_MS = 20_000; // after the connection opened: how long one that lacks its newest minutes is

/** The candles of one symbol. */
export class History {
  #page;
  #store;
  #server;
  #onAnswer;
  /** @type {Fetcher<Candle[], Interval>} */
  #newest;
  /** @type {Fetcher<Candle[], {interval: Interval, before: number}>} */
  #older;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {Page} page
   * @param {SymbolStore} store
   * @param {Server} server
   * @param {Session["platform"]} platform
   * @param {() => void} onAnswer whenever the server has answered
   */
  constructor(page, store, server, platform, onAnswer) {
    this.#page = page;
    this.#store = store;
    this.#server = server;
    this.#onAnswer = onAnswer;
    this.#newest = new Fetcher({
      onData: (candles, interval) => this.#newestArrived(candles, interval),
      onChange: () => {
        store.history = this.#newest.status;
      },
      platform,
    });
    this.#older = new Fetcher({
      onData: (candles, subject) => this.#olderArrived(candles, subject),
      onChange: () => {},
      platform,
    });
  }

  /** Request the newest candles of the page's interval. */
  load(limit = HISTORY_LIMIT) {
    const { interval } = this.#page;
    const range = { symbol: this.#store.symbol, interval: interval.name, limit };
    this.#newest.load(this.#server.http("api/ohlcv", range), interval);
  }

  /**
   * Take over the running bar of a longer interval, and the newest closed one, once its history is known. A minute's
   * are in each view.
   * @param {string} name of the interval
   * @param {Topics["kline"]} message
   */
  runningArrived(name, message) {
    const known = chartOf(this.#store, intervalOf(name));
    if (known === EMPTY_CHART) return;
    const chart = applyRunning(known, message);
    if (chart !== known) this.#store.charts.set(name, chart);
  }

  /** Request the candles before the oldest one that is known, unless there are none, or no more can be kept. */
  loadOlder() {
    const { interval } = this.#page;
    const { bars } = chartOf(this.#store, interval);
    const before = bars[0]?.time;
    const isDone = before === undefined || bars.length >= BARS_MAX || this.#store.firsts.get(interval.name) === before;
    const { phase } = this.#older.status;
    if (isDone || phase === "loading" || phase === "waiting") return;
    const range = { symbol: this.#store.symbol, interval: interval.name, end: before - 1, limit: OLDER_LIMIT };
    this.#older.load(this.#server.http("api/ohlcv", range), { interval, before });
  }

  /** More of the symbol's past has arrived at the server. */
  grown() {
    this.#store.firsts.clear();
    this.load();
  }

  /** The connection has opened again: minutes that closed meanwhile are in the store, not in the next view. */
  reopened() {
    if (this.#newest.status.phase !== "loading") this.load();
  }

  /**
   * Request the candles that a new view shows to be missing.
   * @param {Book} known the book before the view
   * @param {View} view
   */
  viewArrived(known, view) {
    const { book } = this.#store;
    const hasGap = (book.bars !== known.bars || (!known.live && book.live)) && lacksNewest(book);
    if (hasGap || startsOver(known.view, view)) this.load();
  }

  /** Try again at once if a request waits. */
  retryNow() {
    this.#newest.retryNow();
  }

  /** The interval, and with it what is further back, is another one. */
  stopOlder() {
    this.#older.stop();
  }

  /** Request nothing more. */
  stop() {
    clearTimeout(this.#timer);
    this.#newest.stop();
    this.#older.stop();
  }

  /**
   * @param {Candle[]} candles
   * @param {Interval} interval
   */
  #newestArrived(candles, interval) {
    const store = this.#store;
    if (interval === MINUTE) store.book = applyHistory(store.book, candles);
    else store.charts.set(interval.name, applyCandles(chartOf(store, interval), candles));
    // A server that has just started is still loading the history, its newest minutes too.
    const isNew = Date.now() - this.#page.connection.openedAtMs < NEW_MS;
    clearTimeout(this.#timer);
    if (candles.length === 0 || (isNew && lacksNewest(store.book)))
      this.#timer = setTimeout(() => this.#reload(), EMPTY_HISTORY_MS);
    this.#onAnswer();
  }

  #reload() {
    if (this.#newest.status.phase === "ready") this.load();
  }

  /**
   * @param {Candle[]} candles
   * @param {{interval: Interval, before: number}} subject
   */
  #olderArrived(candles, { interval, before }) {
    const store = this.#store;
    if (candles.length === 0) store.firsts.set(interval.name, before);
    if (interval === MINUTE) store.book = applyHistory(store.book, candles);
    else store.charts.set(interval.name, applyOlder(chartOf(store, interval), candles));
  }
}
