// Data from the server: the feed of all symbols on the screen, their candles, and the list of symbols. What arrives
// changes the page's state. It knows no panel and decides nothing for the user; what one panel alone shows, that panel
// requests.

import { Feed } from "./feed.js";
import { Fetcher } from "./fetcher.js";
import { History } from "./history.js";
import { followed, forgetOthers, progressOf, storeOf } from "./page_model.js";
import { paceAfter } from "./replay_clock.js";
import { applyView } from "./state.js";
import { batch } from "./vendor/preact-signals-core-1.14.5/signals-core.mjs";

/** @import {OtherTopic} from "./feed.js" */
/** @import {Page} from "./page_model.js" */
/** @import {Session} from "./session.js" */
/** @import {OtherMessage, StoreReport, SymbolList, Topics, View} from "./types.js" */

const PROGRESS_MS = 5_000; // how often the progress of the history is requested while it is being loaded
const LISTING_MS = 1_000; // how often the symbols are requested while the server does not know all of them
const STORE_MS = 10_000;

const PHONE = window.matchMedia("(max-width: 760px)");

/** @typedef {ReturnType<typeof import("./api.js").addresses>} Server */

/** Everything that comes from the server, into one page's state. */
export class ServerData {
  #page;
  #server;
  #platform;
  #onSymbols;
  #feed;
  /** Of each symbol on the screen.
   * @type {Map<string, History>}
   */
  #histories = new Map();
  /** @type {Fetcher<SymbolList>} */
  #symbols;
  /** @type {Fetcher<StoreReport>} */
  #store;
  #openedAtMs = 0;

  /**
   * @param {Page} page
   * @param {Server} server
   * @param {Session["platform"]} platform
   * @param {{onSymbols: (list: SymbolList) => void}} options `onSymbols` is called when they are in the state
   */
  constructor(page, server, platform, { onSymbols }) {
    this.#page = page;
    this.#server = server;
    this.#platform = platform;
    this.#onSymbols = onSymbols;
    this.#feed = new Feed({
      onView: (view) => batch(() => this.#viewArrived(view)),
      onMessage: (message) => this.#messageArrived(message),
      onChange: () => this.#connectionChanged(),
      onRefused: (symbol, detail) => this.#refused(symbol, detail),
      rate: () => (PHONE.matches ? "4hz" : "full"), // on a phone, data and battery count
      platform,
    });
    this.#symbols = new Fetcher({
      onData: (list) => this.#symbolsArrived(list),
      onChange: () => {
        page.symbolsStatus = this.#symbols.status;
      },
      platform,
    });
    this.#store = new Fetcher({
      onData: (report) => {
        page.store = report;
      },
      onChange: () => {},
      platform,
    });
  }

  /** Connect, and begin to request what is requested periodically, the symbols at once. */
  start() {
    setInterval(() => this.#requestStore(), STORE_MS);
    this.requestSymbols();
  }

  /** Advance the time by which the page tells ages. */
  tick() {
    this.#page.connection = { ...this.#feed.status };
    this.#page.nowMs = Date.now();
  }

  /**
   * Follow exactly these symbols, those on the screen, each with these further topics.
   * @param {Map<string, OtherTopic[]>} wanted
   */
  show(wanted) {
    for (const symbol of [...this.#histories.keys()]) if (!wanted.has(symbol)) this.#leave(symbol);
    const joined = [...wanted.keys()].filter((symbol) => !this.#histories.has(symbol));
    for (const symbol of joined) this.#join(symbol);
    for (const [symbol, others] of wanted) this.#forgetMessages(symbol, others);
    this.#feed.follow(wanted);
    if (wanted.size > 0 && this.#feed.status.phase === "idle") this.#feed.open(this.#server.feed());
  }

  /** @param {string} symbol */
  #join(symbol) {
    const store = storeOf(this.#page, symbol);
    Object.assign(store, { followedAtMs: Date.now(), refusal: "" });
    const answered = () => {
      if (store.refusal !== "") this.#feed.again(symbol); // there is room for it now
    };
    const history = new History(this.#page, store, this.#server, this.#platform, answered);
    this.#histories.set(symbol, history);
    history.load();
  }

  /**
   * Drop the messages of further topics that are not wanted any more.
   * @param {string} symbol
   * @param {OtherTopic[]} others
   */
  #forgetMessages(symbol, others) {
    const { messages } = storeOf(this.#page, symbol);
    for (const topic of messages.keys()) if (!others.some((other) => other.topic === topic)) messages.delete(topic);
  }

  /** @param {string} symbol */
  #leave(symbol) {
    this.#histories.get(symbol)?.stop();
    this.#histories.delete(symbol);
    storeOf(this.#page, symbol).followedAtMs = 0;
  }

  /** Try at once whatever waits or was refused. */
  retry() {
    this.#feed.retryNow();
    this.#symbols.retryNow();
    for (const [symbol, history] of this.#histories) {
      if (storeOf(this.#page, symbol).refusal !== "") this.#feed.again(symbol);
      history.retryNow();
    }
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

  /** Request the candles of all symbols on the screen: the interval is another one. */
  loadHistories() {
    for (const history of this.#histories.values()) {
      history.stopOlder();
      history.load();
    }
  }

  /**
   * Return what requests a symbol's candles; undefined if it is not on the screen.
   * @param {string} symbol
   */
  history(symbol) {
    return this.#histories.get(symbol);
  }

  /** Request the symbols. */
  requestSymbols() {
    this.#symbols.load(this.#server.http("api/symbols"));
  }

  /** @param {SymbolList} list */
  #symbolsArrived(list) {
    const page = this.#page;
    const before = new Map([...this.#histories.keys()].map((symbol) => [symbol, progressOf(page, symbol)?.minutes]));
    Object.assign(page, { symbols: list.symbols, listed: list.listed, source: list.source });
    forgetOthers(page);
    this.#onSymbols(list);
    for (const [symbol, minutes] of before)
      if (progressOf(page, symbol)?.minutes !== minutes) this.#histories.get(symbol)?.grown();
    if (!list.is_listing_known) setTimeout(() => this.requestSymbols(), LISTING_MS);
    else if (list.symbols.some((one) => one.history && one.history.minutes < one.history.of))
      setTimeout(() => this.requestSymbols(), PROGRESS_MS);
  }

  /** @param {View} view */
  #viewArrived(view) {
    const page = this.#page;
    const store = storeOf(page, view.symbol);
    const known = store.book;
    store.book = applyView(known, view, Date.now());
    store.refusal = "";
    page.source = view.source;
    if (view.symbol === page.selected) {
      page.pace = paceAfter(page.pace, view, store.book.receivedAtMs);
      page.shown = view.symbol;
    }
    // It has just been started.
    if (known.view === null && followed(page, view.symbol) === undefined) this.requestSymbols();
    this.#histories.get(view.symbol)?.viewArrived(known, view);
  }

  /** @param {OtherMessage} message */
  #messageArrived(message) {
    const [kind, symbol, interval] = message.topic.split(".");
    if (kind === "kline")
      this.#histories.get(symbol)?.runningArrived(interval, /** @type {Topics["kline"]} */ (message));
    else this.#page.stores.get(symbol)?.messages.set(message.topic, message);
  }

  #connectionChanged() {
    const { openedAtMs } = this.#feed.status;
    const reopened = this.#openedAtMs !== 0 && openedAtMs !== this.#openedAtMs;
    this.#openedAtMs = openedAtMs;
    this.#page.connection = { ...this.#feed.status };
    if (reopened) for (const history of this.#histories.values()) history.reopened();
  }

  /**
   * @param {string} symbol
   * @param {string} detail
   */
  #refused(symbol, detail) {
    storeOf(this.#page, symbol).refusal = detail;
    if (symbol === this.#page.selected) this.#page.shown = symbol; // not another one's numbers under its name
  }

  #requestStore() {
    if (this.#feed.status.phase === "open") this.#store.load(this.#server.http("api/store"));
  }
}
