// The page's state, and what panels paint: a pure function from the state, the connection and the clock to one model.
// It knows no document and makes no request.

import { waitText } from "./format.js";
import { EMPTY_CHART, heldChart, MINUTE, runningChart } from "./intervals.js";
import { NO_PACE } from "./replay_clock.js";
import { bookStatus, emptyBook, paintable } from "./state.js";

/** @import {ConnectionStatus} from "./connection.js" */
/** @import {FetchStatus} from "./fetcher.js" */
/** @import {Chart, Interval} from "./intervals.js" */
/** @import {Pace} from "./replay_clock.js" */
/** @import {Book, BookStatus} from "./state.js" */
/** @import {HistoryProgress, Instrument, LatencyReport, ProofReport} from "./types.js" */
/** @import {Source, StoreReport, SymbolInfo} from "./types.js" */

/** A proof, when it was read, and its symbol's description.
 * @typedef {{body: ProofReport, readAtMs: number, url: string, instrument: SymbolInfo | undefined}} ShownProof
 */

/** What the user holds on the screen: everything as it was at `atMs`. All of it is immutable, so keeping it is enough.
 * @typedef {{atMs: number, wasTrusted: boolean, book: Book, charts: Map<string, Chart>}} Paused
 */

/** Everything the page remembers.
 * @typedef {object} Page
 * @property {Map<string, Book>} books by symbol
 * @property {Map<string, Chart>} charts by `chartKey`, of intervals longer than a minute
 * @property {Map<string, number>} firsts by `chartKey`, the open of the first bar that the server has, where known
 * @property {SymbolInfo[]} symbols those the server follows
 * @property {string[]} listed the names of all that the exchange lists
 * @property {Source | ""} source
 * @property {Pace} pace of a replay
 * @property {string} fault an error in the page's own code
 * @property {string} refusal why the server does not send the selected symbol
 * @property {string} notice what the user asked for and cannot have
 * @property {Interval} interval
 * @property {string} selected the symbol that the user selected
 * @property {number} selectedAtMs
 * @property {string} shown the symbol whose book is on the screen: for a moment still the one before
 * @property {Paused | null} paused while the user holds the display
 * @property {number} openedAtMs when the connection last opened
 * @property {StoreReport | null} store
 * @property {ShownProof | null} proof while its dialog is open
 * @property {LatencyReport | null} latency
 */

/** The status of the connection and of each request.
 * @typedef {{connection: ConnectionStatus, history: FetchStatus, symbols: FetchStatus, proof: FetchStatus}} Statuses
 */

/** What panels paint: the displayed book and chart, and everything about them.
 * @typedef {object} PanelParts
 * @property {Interval} interval
 * @property {HistoryProgress | null} progress how far the symbol's history has been loaded
 * @property {number} nowMs
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
 * @property {string} selected
 * @property {string} notice
 * @property {{atMs: number, wasTrusted: boolean} | null} paused
 * @property {ShownProof | null} proof
 * @property {string} proofError
 * @property {LatencyReport | null} latency
 * @property {number} newTrades how many arrived while paused
 */

/** @typedef {Book & PanelParts} PanelModel */

/**
 * Return the state of a page that has just been opened.
 * @param {Interval} interval
 * @returns {Page}
 */
export function emptyPage(interval) {
  return {
    books: new Map(),
    charts: new Map(),
    firsts: new Map(),
    symbols: [],
    listed: [],
    source: "",
    pace: NO_PACE,
    fault: "",
    refusal: "",
    notice: "",
    interval,
    selected: "",
    selectedAtMs: 0,
    shown: "",
    paused: null,
    openedAtMs: 0,
    store: null,
    proof: null,
    latency: null,
  };
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
 * @param {string} symbol
 * @param {Interval} interval
 */
export function chartKey(symbol, interval) {
  return `${symbol} ${interval.name}`;
}

/**
 * @param {Page} page
 * @param {string} symbol
 * @param {Interval} interval
 */
export function chartOf(page, symbol, interval) {
  return page.charts.get(chartKey(symbol, interval)) ?? EMPTY_CHART;
}

/**
 * Drop what was kept of symbols that the server no longer follows; it would grow with every symbol ever selected.
 * @param {Page} page
 */
export function forgetOthers(page) {
  /** @param {string} symbol */
  const isKept = (symbol) => followed(page, symbol) !== undefined || symbol === page.selected || symbol === page.shown;
  for (const symbol of page.books.keys()) if (!isKept(symbol)) page.books.delete(symbol);
  for (const kept of [page.charts, page.firsts])
    for (const key of kept.keys()) if (!isKept(key.split(" ", 1)[0])) kept.delete(key);
}

/**
 * Return the book on the screen.
 * @param {Page} page
 */
export function shownBook(page) {
  if (page.paused !== null) return page.paused.book;
  return page.books.get(page.shown) ?? page.books.get(page.selected) ?? emptyBook("");
}

/**
 * Return the display as it is now, to be held; null while there is nothing to hold.
 * @param {Page} page
 * @param {Statuses} statuses
 * @param {number} nowMs
 * @returns {Paused | null}
 */
export function heldDisplay(page, statuses, nowMs) {
  const book = shownBook(page);
  const { trusted: wasTrusted } = statusOf(page, statuses, book, nowMs);
  return book.view === null ? null : { atMs: nowMs, wasTrusted, book, charts: new Map(page.charts) };
}

/**
 * Return the bars on the screen. What a paused display lacks, because the user looks further back or at another
 * interval, is completed by what had closed when it was paused.
 * @param {Page} page
 * @param {Book} book
 * @returns {Chart}
 */
function shownChart({ interval, charts, books, paused }, book) {
  const key = chartKey(book.symbol, interval);
  const newest = interval === MINUTE ? books.get(book.symbol) : charts.get(key);
  const held = interval === MINUTE ? paused?.book : paused?.charts.get(key);
  const chart =
    paused === null
      ? (newest ?? EMPTY_CHART)
      : heldChart(held ?? EMPTY_CHART, newest ?? EMPTY_CHART, interval, paused.atMs);
  return runningChart(chart, interval, book);
}

/**
 * Return what panels paint at `nowMs`.
 * @param {Page} page
 * @param {Statuses} statuses
 * @param {number} nowMs
 * @returns {PanelModel}
 */
export function panelModel(page, statuses, nowMs) {
  const book = paintable(shownBook(page));
  const newest = page.books.get(page.selected) ?? emptyBook("");
  const { bars, live } = shownChart(page, book);
  return {
    ...book,
    bars,
    live,
    interval: page.interval,
    progress: progressOf(page, page.selected),
    nowMs,
    instrument: book.view?.instrument ?? null,
    status: statusOf(page, statuses, newest, nowMs),
    connection: statuses.connection,
    store: page.store,
    isRetryable: isRetryable(page, statuses),
    history: statuses.history,
    source: page.source,
    pace: page.pace,
    symbols: page.symbols,
    listed: page.listed,
    selected: page.selected,
    notice: page.notice,
    paused: page.paused,
    proof: page.proof,
    proofError: statuses.proof.reason,
    latency: page.latency,
    newTrades: page.paused === null ? 0 : newest.received - page.paused.book.received,
  };
}

/**
 * @param {Page} page
 * @param {Statuses} statuses
 */
function isRetryable(page, { connection, symbols }) {
  return page.refusal !== "" || connection.phase === "waiting" || symbols.phase === "waiting";
}

/**
 * @param {Page} page
 * @param {Statuses} statuses
 * @param {Book} book
 * @param {number} nowMs
 * @returns {BookStatus}
 */
function statusOf(page, { connection, symbols }, book, nowMs) {
  const status = bookStatus({ connection, book, nowMs, refusal: page.refusal, fault: page.fault });
  if (page.fault !== "") return status;
  if (page.symbols.length === 0) return withoutSymbols(status, symbols, nowMs);
  return status.kind === "connecting" ? { ...status, text: `Loading ${page.selected}` } : status;
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
