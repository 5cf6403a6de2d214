// The page's state, and what panels paint: the page's own part, one store for each symbol, and a model that joins them.
// All of it is made of signals, so that what a panel reads is what it is painted for. It knows no document and makes no
// request.

import { waitText } from "./format.js";
import { EMPTY_CHART, heldChart, MINUTE, runningChart } from "./intervals.js";
import { NO_PACE } from "./replay_clock.js";
import { ReactiveMap, reactive } from "./signals.js";
import { bookStatus, emptyBook, paintable } from "./state.js";
import { computed } from "./vendor/preact-signals-core-1.14.5/signals-core.mjs";

/** @import {ConnectionStatus} from "./connection.js" */
/** @import {FetchStatus} from "./fetcher.js" */
/** @import {Chart, Interval} from "./intervals.js" */
/** @import {Pace} from "./replay_clock.js" */
/** @import {Book, BookStatus} from "./state.js" */
/** @import {HistoryProgress, Instrument, OtherMessage, Source, StoreReport, SymbolInfo} from "./types.js" */

/** What the page keeps of one symbol. `charts` has intervals longer than a minute, `firsts` the open of the first bar
 * that the server has of an interval, where known, `messages` the newest one of each further topic.
 * @typedef {object} SymbolStore
 * @property {string} symbol
 * @property {Book} book
 * @property {string} refusal why the server does not send it
 * @property {number} followedAtMs since when it is subscribed to; 0 while it is not
 * @property {FetchStatus} history
 * @property {ReactiveMap<Chart>} charts
 * @property {Map<string, number>} firsts
 * @property {ReactiveMap<OtherMessage>} messages
 */

/** What the user holds on the screen: everything as it was at `atMs`. All of it is immutable, so keeping it is enough.
 * @typedef {object} Paused
 * @property {number} atMs
 * @property {Map<string, {wasTrusted: boolean, book: Book, charts: Map<string, Chart>}>} held by symbol
 */

/** Everything the page remembers.
 * @typedef {object} Page
 * @property {ReactiveMap<SymbolStore>} stores by symbol
 * @property {number} nowMs the time by which ages are told
 * @property {ConnectionStatus} connection
 * @property {SymbolInfo[]} symbols those the server follows
 * @property {string[]} listed the names of all that the exchange lists
 * @property {FetchStatus} symbolsStatus
 * @property {Source | ""} source
 * @property {Pace} pace of a replay
 * @property {string} fault an error in the page's own code
 * @property {string} notice what the user asked for and cannot have
 * @property {Interval} interval
 * @property {string} selected the symbol that the user selected
 * @property {number} selectedAtMs
 * @property {string} shown the symbol whose book is on the screen: for a moment still the one before
 * @property {Paused | null} paused while the user holds the display
 * @property {StoreReport | null} store
 */

/** What a panel paints: the displayed book and chart of its symbol, and everything about them. Each field is read anew
 * where it is named.
 * @typedef {object} PanelParts
 * @property {Interval} interval
 * @property {HistoryProgress | null} progress how far the symbol's history has been loaded
 * @property {number} nowMs the time by which ages are told; it advances every TICK_MS
 * @property {Instrument | null} instrument
 * @property {BookStatus} status
 * @property {ConnectionStatus} connection
 * @property {StoreReport | null} store
 * @property {boolean} isRetryable
 * @property {FetchStatus} history
 * @property {Source | ""} source
 * @property {Pace} pace
 * @property {SymbolInfo[]} symbols
 * @property {string[]} listed
 * @property {string} selected the panel's symbol: the page's, or the one that the panel is pinned to
 * @property {boolean} isPinned
 * @property {string} notice
 * @property {{atMs: number, wasTrusted: boolean} | null} paused
 * @property {number} newTrades how many arrived while paused
 * @property {(topic: string) => OtherMessage | null} message the newest message of a further topic
 */

/** @typedef {Book & PanelParts} PanelModel */

/** @type {FetchStatus} */
const NOT_ASKED = { phase: "idle", reason: "", retryAtMs: 0 };

/**
 * Return the state of a page that has just been opened.
 * @param {Interval} interval
 * @returns {Page}
 */
export function emptyPage(interval) {
  return reactive(
    /** @type {Page} */ ({
      stores: new ReactiveMap(),
      nowMs: 0,
      connection: { phase: "idle", attempt: 0, retryAtMs: 0, openedAtMs: 0, lastMessageAtMs: 0, reason: "" },
      symbols: [],
      listed: [],
      symbolsStatus: NOT_ASKED,
      source: "",
      pace: NO_PACE,
      fault: "",
      notice: "",
      interval,
      selected: "",
      selectedAtMs: 0,
      shown: "",
      paused: null,
      store: null,
    }),
  );
}

/**
 * Return what is kept of a symbol, from now on.
 * @param {Page} page
 * @param {string} symbol
 */
export function storeOf(page, symbol) {
  const known = page.stores.get(symbol);
  if (known !== undefined) return known;
  const charts = /** @type {ReactiveMap<Chart>} */ (new ReactiveMap());
  const messages = /** @type {ReactiveMap<OtherMessage>} */ (new ReactiveMap());
  const firsts = /** @type {Map<string, number>} */ (new Map());
  const fields = { symbol, book: emptyBook(symbol), refusal: "", followedAtMs: 0, history: NOT_ASKED };
  const store = reactive({ ...fields, charts, firsts, messages });
  page.stores.set(symbol, store);
  return store;
}

/**
 * Return the description of a symbol that the server follows; undefined for another one.
 * @param {Page} page
 * @param {string} symbol
 */
export function followed(page, symbol) {
  return page.symbols.find((known) => known.symbol === symbol);
}

/**
 * Return how far the server has loaded a symbol's history; null where it loads none.
 * @param {Page} page
 * @param {string} symbol
 */
export function progressOf(page, symbol) {
  return followed(page, symbol)?.history ?? null;
}

/**
 * Drop what was kept of symbols that the server no longer follows; it would grow with every symbol ever selected.
 * @param {Page} page
 */
export function forgetOthers(page) {
  for (const symbol of page.stores.keys()) {
    const isShown = symbol === page.selected || symbol === page.shown || page.stores.get(symbol)?.followedAtMs !== 0;
    if (!isShown && followed(page, symbol) === undefined) page.stores.delete(symbol);
  }
}

/**
 * Return the bars of one interval, as they are now.
 * @param {SymbolStore | undefined} store
 * @param {Interval} interval
 * @returns {Chart}
 */
export function chartOf(store, interval) {
  return (interval === MINUTE ? store?.book : store?.charts.get(interval.name)) ?? EMPTY_CHART;
}

/**
 * Return the display as it is now, to be held; null while there is nothing to hold.
 * @param {Page} page
 * @param {number} nowMs
 * @returns {Paused | null}
 */
export function heldDisplay(page, nowMs) {
  const held = new Map();
  for (const symbol of page.stores.keys()) {
    const store = storeOf(page, symbol);
    if (store.book.view === null) continue;
    const wasTrusted = statusOf(page, store, nowMs).trusted;
    const charts = new Map(store.charts.keys().map((name) => [name, store.charts.get(name)]));
    held.set(symbol, { wasTrusted, book: store.book, charts });
  }
  return held.has(page.shown) ? { atMs: nowMs, held } : null;
}

/**
 * Return the bars on the screen. What a paused display lacks, because the user looks further back or at another
 * interval, is completed by what had closed when it was paused.
 * @param {Page} page
 * @param {Book} book
 * @returns {Chart}
 */
function shownChart({ interval, stores, paused }, book) {
  const newest = chartOf(stores.get(book.symbol), interval);
  const held = paused?.held.get(book.symbol);
  if (paused === null || held === undefined) return runningChart(newest, interval, book);
  const kept = interval === MINUTE ? held.book : held.charts.get(interval.name);
  return runningChart(heldChart(kept ?? EMPTY_CHART, newest, interval, paused.atMs), interval, book);
}

/**
 * Return what the panels of one symbol paint: of the one that is selected, or of the one that they are pinned to.
 * @param {Page} page
 * @param {string} pin "" for the selected symbol
 * @returns {PanelModel}
 */
export function panelModel(page, pin = "") {
  const selected = () => (pin === "" ? page.selected : pin);
  const newest = computed(() => page.stores.get(selected())?.book ?? emptyBook(selected()));
  const held = computed(() => page.paused?.held.get(pin === "" ? page.shown : pin) ?? null);
  const book = computed(() => {
    const shown = held.value?.book ?? (pin === "" ? page.stores.get(page.shown)?.book : undefined) ?? newest.value;
    return paintable(shown);
  });
  const chart = computed(() => shownChart(page, book.value));
  const status = computed(() => statusOf(page, page.stores.get(selected()), page.nowMs, selected()));
  return {
    get symbol() {
      return book.value.symbol;
    },
    get view() {
      return book.value.view;
    },
    get receivedAtMs() {
      return book.value.receivedAtMs;
    },
    get trades() {
      return book.value.trades;
    },
    get received() {
      return book.value.received;
    },
    get samples() {
      return book.value.samples;
    },
    get joined() {
      return book.value.joined;
    },
    get bars() {
      return chart.value.bars;
    },
    get live() {
      return chart.value.live;
    },
    get interval() {
      return page.interval;
    },
    get progress() {
      return progressOf(page, selected());
    },
    get nowMs() {
      return page.nowMs;
    },
    get instrument() {
      return book.value.view?.instrument ?? null;
    },
    get status() {
      return status.value;
    },
    get connection() {
      return page.connection;
    },
    get store() {
      return page.store;
    },
    get isRetryable() {
      const isRefused = (page.stores.get(selected())?.refusal ?? "") !== "";
      return isRefused || page.connection.phase === "waiting" || page.symbolsStatus.phase === "waiting";
    },
    get history() {
      return page.stores.get(selected())?.history ?? NOT_ASKED;
    },
    get source() {
      return page.source;
    },
    get pace() {
      return page.pace;
    },
    get symbols() {
      return page.symbols;
    },
    get listed() {
      return page.listed;
    },
    get selected() {
      return selected();
    },
    get isPinned() {
      return pin !== "";
    },
    get notice() {
      return page.notice;
    },
    get paused() {
      if (page.paused === null) return null;
      return { atMs: page.paused.atMs, wasTrusted: held.value?.wasTrusted ?? false };
    },
    get newTrades() {
      return held.value === null ? 0 : newest.value.received - held.value.book.received;
    },
    message: (topic) => page.stores.get(selected())?.messages.get(topic) ?? null,
  };
}

/**
 * @param {Page} page
 * @param {SymbolStore | undefined} store
 * @param {number} nowMs
 * @param {string} symbol
 * @returns {BookStatus}
 */
function statusOf(page, store, nowMs, symbol = store?.symbol ?? "") {
  const { connection, symbolsStatus, symbols, fault } = page;
  const { refusal = "", followedAtMs: sinceMs = 0, book = undefined } = store ?? {};
  const status = bookStatus({ connection, book, nowMs, sinceMs, refusal, fault });
  if (fault !== "") return status;
  if (symbols.length === 0) return withoutSymbols(status, symbolsStatus, nowMs);
  return status.kind === "connecting" ? { ...status, text: `Loading ${symbol}` } : status;
}

/**
 * @param {BookStatus} status
 * @param {FetchStatus} symbols
 * @param {number} nowMs
 * @returns {BookStatus}
 */
function withoutSymbols(status, { phase, reason, retryAtMs }, nowMs) {
  if (phase !== "waiting") return { ...status, text: "Connecting: loading the symbols" };
  const text = `Disconnected: ${reason}. Trying again in ${waitText(retryAtMs, nowMs)}`;
  return { ...status, kind: "disconnected", text };
}
