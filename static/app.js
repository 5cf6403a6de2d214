// Composition: feed and API -> state -> panels, painted in one animation frame. It connects everything and computes
// nothing: what data means is in state.js and page_model.js, how it looks is in panels/.

import { addresses } from "./api.js";
import { find, setAttr } from "./dom.js";
import { Feed } from "./feed.js";
import { Fetcher } from "./fetcher.js";
import { applyCandles, intervalOf, MINUTE } from "./intervals.js";
import { command, neighbour } from "./keys.js";
import {
  chartKey,
  chartOf,
  emptyPage,
  followed,
  forgetOthers,
  panelModel,
  progressOf,
  shownBook,
} from "./page_model.js";
import { createCandles } from "./panels/candles.js";
import { createLadder } from "./panels/ladder.js";
import { createLatency } from "./panels/latency.js";
import { createSession } from "./panels/login.js";
import { createMetrics } from "./panels/metrics.js";
import { createProof } from "./panels/proof.js";
import { createStatus } from "./panels/status.js";
import { createSymbolSearch } from "./panels/symbol_search.js";
import { createSymbols } from "./panels/symbols.js";
import { createTrades } from "./panels/trades.js";
import { loadPref, savePref } from "./prefs.js";
import { createSchedule } from "./schedule.js";
import { applyHistory, applyView, emptyBook, lacksNewest, startsOver } from "./state.js";
import { firstSymbol, symbolOfHash } from "./symbol_names.js";

/** @import {Config} from "./api.js" */
/** @import {Interval} from "./intervals.js" */
/** @import {PanelModel} from "./page_model.js" */
/** @import {Candle, LatencyReport, ProofReport, StoreReport, SymbolList, View} from "./types.js" */

const CHARTS = "./vendor/lightweight-charts-5.2.1/lightweight-charts.standalone.production.mjs";
const TICK_MS = 250; // how often ages, countdowns and the chart's running bar are repainted
const HISTORY_LIMIT = 500;
const EMPTY_HISTORY_MS = 5_000; // how soon an empty history is requested again
const NEW_MS = 20_000; // after the connection opened: how long one that lacks its newest minutes is
const NEWEST_BARS = 3; // the running bar of a longer interval is requested with those before it, every CHART_MS
const CHART_MS = 2_000;
const PROGRESS_MS = 5_000; // how often the progress of the history is requested while it is being loaded
const LISTING_MS = 1_000; // how often the symbols are requested while the server does not know all of them
const STORE_MS = 10_000;
const LATENCY_MS = 10_000;
const PROOF_MS = 2_000; // while the proof's dialog is open
const KEEP_OLD_MS = 1_500; // how long the dimmed book of the symbol before stays while the new one loads

const root = find(document, "#terminal");
const config = /** @type {Window & {PULSE?: Config}} */ (window).PULSE;
const server = addresses(config, document.baseURI);
const page = emptyPage(intervalOf(loadPref("interval")));
/** @type {number | undefined} */
let proofTimer;

const schedule = createSchedule(paint);
const markTime = () => schedule.mark("time");
const session = createSession(root, find(document, "dialog.login"), server, retry);
const { platform } = session;
const feed = new Feed({ onView: viewArrived, onChange: connectionChanged, onRefused: refused, platform });
/** @type {Fetcher<Candle[], {symbol: string, interval: Interval}>} */
const history = new Fetcher({ onData: historyArrived, onChange: markTime, platform });
/** @type {Fetcher<SymbolList>} */
const symbols = new Fetcher({ onData: symbolsArrived, onChange: markTime, platform });
/** @type {Fetcher<StoreReport>} */
const store = new Fetcher({ onData: storeArrived, onChange: () => {}, platform });
/** @type {Fetcher<LatencyReport>} */
const latency = new Fetcher({ onData: latencyArrived, onChange: () => {}, platform });
/** @type {Fetcher<ProofReport, string>} */
const proof = new Fetcher({ onData: proofArrived, onChange: () => schedule.mark("proof"), platform });

/** The panels by name. To add one: its entry here, and in PAINTED below. */
const panels = {
  status: createStatus(root, { onRetry: retry }),
  symbols: createSymbols(find(root, ".symbols"), { onSelect: select }),
  search: createSymbolSearch(find(root, ".symbol-search"), { onSelect: select }),
  ladder: createLadder(find(root, ".panel.ladder"), { onResize: () => schedule.mark("book") }),
  metrics: createMetrics(find(root, ".panel.metrics")),
  trades: createTrades(find(root, ".panel.trades")),
  proof: createProof(root, find(document, "dialog.proof"), {
    everyMs: PROOF_MS,
    onOpen: startProof,
    onClose: stopProof,
  }),
  latency: createLatency(find(root, ".latency")),
  /** Created when its library has arrived, which is the largest file: the book does not wait for it.
   * @type {ReturnType<typeof createCandles> | null}
   */
  candles: null,
};

/** The panels that are painted when a part of the state is marked. The chart joins when it has been created.
 * @type {Record<string, {paint: (model: PanelModel) => void}[]>}
 */
const PAINTED = {
  symbols: [panels.symbols, panels.search],
  book: [panels.ladder, panels.metrics],
  trades: [panels.trades],
  candles: [],
  proof: [panels.proof],
  latency: [panels.latency],
};

/** What to show first; `select` writes over both. */
const wishes = [symbolOfHash(window.location.hash), loadPref("symbol")];
/** The symbol that is shown until the server knows whether a wish is listed. */
let standIn = "";

start();

function start() {
  window.addEventListener("error", ({ error }) => failed(error));
  window.addEventListener("unhandledrejection", ({ reason }) => failed(reason));
  window.addEventListener("hashchange", () => select(symbolOfHash(window.location.hash)));
  window.addEventListener("online", retry);
  window.addEventListener("keydown", keyPressed);
  document.addEventListener("visibilitychange", () => feed.check());
  find(root, ".pause").addEventListener("click", togglePause);
  find(root, ".help-open").addEventListener("click", openHelp);
  find(root, ".chart-retry").addEventListener("click", () => history.retryNow());
  setInterval(() => schedule.mark("time", "candles"), TICK_MS);
  setInterval(requestRunningBar, CHART_MS);
  setInterval(requestStore, STORE_MS);
  setInterval(requestLatency, LATENCY_MS);
  requestSymbols();
  session.check();
  loadCharts();
}

async function loadCharts() {
  /** @type {typeof import("lightweight-charts")} */
  const library = await import(CHARTS);
  panels.candles = createCandles(find(root, ".panel.chart"), library, {
    onHover: () => schedule.mark("candles"),
    onInterval: selectInterval,
  });
  PAINTED.candles.push(panels.candles);
  schedule.mark("candles");
}

// ---- data arrives: change the state, mark what shows it

/** @param {SymbolList} list */
function symbolsArrived({ symbols: list, listed, is_listing_known: isListingKnown, source, default: fallback }) {
  const before = progressOf(page, page.selected);
  Object.assign(page, { symbols: list, listed, source });
  forgetOthers(page);
  schedule.mark("symbols");
  if (page.selected === standIn) select(firstSymbol(listed, fallback, ...wishes));
  else if (progressOf(page, page.selected)?.minutes !== before?.minutes) loadHistory(); // it reaches further back now
  standIn = isListingKnown ? "" : page.selected;
  if (!isListingKnown) setTimeout(requestSymbols, LISTING_MS);
  else if (list.some((one) => one.history && one.history.minutes < one.history.of))
    setTimeout(requestSymbols, PROGRESS_MS);
}

function requestSymbols() {
  symbols.load(server.http("api/symbols"));
}

/** @param {View} view */
function viewArrived(view) {
  const known = page.books.get(view.symbol);
  if (known === undefined) return;
  const book = applyView(known, view, Date.now());
  page.books.set(view.symbol, book);
  page.source = view.source;
  if (view.symbol !== page.selected) return;
  page.shown = view.symbol;
  page.refusal = "";
  if (known.view === null && followed(page, view.symbol) === undefined) requestSymbols(); // it has just been started
  const hasGap = (book.bars !== known.bars || (!known.live && book.live)) && lacksNewest(book);
  if (hasGap || startsOver(known.view, view)) loadHistory();
  schedule.mark("time", "book", "trades"); // the chart, far more expensive to draw, follows with the next tick
}

function connectionChanged() {
  const { openedAtMs } = feed.status;
  // Minutes that closed while disconnected are in the store, not in the next view.
  const reopened = page.openedAtMs !== 0 && page.openedAtMs !== openedAtMs;
  page.openedAtMs = openedAtMs;
  if (reopened && history.status.phase !== "loading") loadHistory();
  schedule.mark("time");
}

function loadHistory(limit = HISTORY_LIMIT) {
  const { selected: symbol, interval } = page;
  history.load(server.http("api/ohlcv", { symbol, interval: interval.name, limit }), { symbol, interval });
}

/** A minute's running candle is in each view; that of a longer interval is requested. */
function requestRunningBar() {
  if (page.interval === MINUTE || page.paused !== null || history.status.phase !== "ready") return;
  loadHistory(NEWEST_BARS);
}

/**
 * @param {Candle[]} candles
 * @param {{symbol: string, interval: Interval}} subject
 */
function historyArrived(candles, { symbol, interval }) {
  const book = applyHistory(page.books.get(symbol) ?? emptyBook(symbol), interval === MINUTE ? candles : []);
  if (interval === MINUTE) page.books.set(symbol, book);
  else page.charts.set(chartKey(symbol, interval), applyCandles(chartOf(page, symbol, interval), candles));
  schedule.mark("candles");
  // A server that has just started is still loading the history, its newest minutes too.
  const isNew = Date.now() - page.openedAtMs < NEW_MS;
  if (candles.length === 0 || (isNew && lacksNewest(book))) setTimeout(() => reloadHistory(symbol), EMPTY_HISTORY_MS);
  if (page.refusal !== "" && symbol === page.selected) retry(); // there is room for it now
}

/** @param {string} symbol */
function reloadHistory(symbol) {
  if (history.status.phase === "ready" && page.selected === symbol) loadHistory();
}

function requestStore() {
  if (feed.status.phase === "open") store.load(server.http("api/store"));
}

/** @param {StoreReport} report */
function storeArrived(report) {
  page.store = report;
  schedule.mark("time");
}

function requestLatency() {
  if (feed.status.phase === "open" && !document.hidden) latency.load(server.http("api/latency"));
}

/** @param {LatencyReport} report */
function latencyArrived(report) {
  page.latency = report;
  schedule.mark("latency");
}

/** @param {string} symbol */
function proofUrl(symbol) {
  return server.http(`api/proof/${encodeURIComponent(symbol)}`);
}

function requestProof() {
  if (page.selected === "" || proof.status.phase === "loading") return;
  proof.load(proofUrl(page.selected), page.selected);
}

/**
 * @param {ProofReport} body
 * @param {string} symbol
 */
function proofArrived(body, symbol) {
  page.proof = { body, readAtMs: Date.now(), url: proofUrl(symbol), instrument: followed(page, symbol) };
}

/** @param {string} detail */
function refused(detail) {
  page.refusal = detail;
  schedule.mark("time");
}

/** @param {unknown} error */
function failed(error) {
  if (!(error instanceof Error)) return; // for example the browser's own note that a resize came late
  page.fault = error.message;
  schedule.mark("time");
}

// ---- the user acts

/** @param {string | undefined} symbol */
function select(symbol) {
  if (symbol === undefined || symbol === page.selected || !page.listed.includes(symbol)) return;
  Object.assign(page, { selected: symbol, selectedAtMs: Date.now(), paused: null, openedAtMs: 0, refusal: "" });
  const book = page.books.get(symbol) ?? emptyBook(symbol);
  page.books.set(symbol, book);
  if (book.view !== null) page.shown = symbol;
  window.history.replaceState(null, "", `#${symbol}`);
  savePref("symbol", symbol);
  feed.open(server.feed(), symbol);
  loadHistory();
  schedule.mark("time", "symbols", "book", "trades", "candles");
}

/** @param {string | undefined} name */
function selectInterval(name) {
  page.interval = intervalOf(name);
  savePref("interval", page.interval.name);
  loadHistory();
  schedule.mark("time", "candles");
}

function retry() {
  if (page.refusal === "") feed.retryNow();
  else feed.open(server.feed(), page.selected);
  history.retryNow();
  symbols.retryNow();
}

function togglePause() {
  const book = shownBook(page);
  page.paused = page.paused === null && book.view !== null ? { atMs: Date.now(), book } : null;
  schedule.mark("time", "book", "trades", "candles");
}

function openHelp() {
  /** @type {HTMLDialogElement} */
  const dialog = find(document, "dialog.help");
  if (!dialog.open) dialog.showModal();
}

function startProof() {
  page.proof = null;
  proofTimer = window.setInterval(requestProof, PROOF_MS);
  requestProof();
  schedule.mark("proof");
}

function stopProof() {
  clearInterval(proofTimer);
  proof.stop();
}

/** @param {KeyboardEvent} event */
function keyPressed(event) {
  const wanted = document.querySelector("dialog[open]") === null ? command(event) : null;
  if (wanted === null) return;
  event.preventDefault();
  if (wanted.name === "pause") togglePause();
  if (wanted.name === "help") openHelp();
  if (wanted.name === "proof") panels.proof.open();
  if (wanted.name === "find") panels.search.open();
  if (wanted.name === "symbol") select(page.symbols[wanted.at]?.symbol);
  if (wanted.name === "step") select(neighbour(page.symbols, page.selected, wanted.by));
}

// ---- one frame: paint what is marked from the newest state

/** @param {Set<string>} marked */
function paint(marked) {
  const nowMs = Date.now();
  if (dropOldBook(nowMs)) for (const name of ["book", "trades", "candles"]) marked.add(name);
  const model = panelModel(page, statuses(), nowMs);
  // First, so that an error further down cannot leave "Live" over a half-painted book.
  panels.status.paintState(model);
  panels.proof.paintShield(model);
  panels.ladder.paintOverlay(model);
  panels.candles?.paintNotice(model);
  paintRoot(model);
  if (marked.has("book")) paintBook(model);
  for (const [name, painted] of Object.entries(PAINTED)) {
    if (marked.has(name)) for (const panel of painted) panel.paint(model);
  }
}

function statuses() {
  return {
    connection: feed.status,
    history: history.status,
    symbols: symbols.status,
    proof: proof.status,
  };
}

/**
 * Drop the old symbol's dimmed book, which bridges the switch, after KEEP_OLD_MS. Return whether it was dropped.
 * @param {number} nowMs
 */
function dropOldBook(nowMs) {
  if (page.shown === page.selected || nowMs - page.selectedAtMs < KEEP_OLD_MS) return false;
  page.shown = page.selected;
  return true;
}

/** @param {PanelModel} model */
function paintRoot({ status, paused, source, selected }) {
  setAttr(root, "data-state", status.kind);
  setAttr(root, "data-trusted", String(status.trusted));
  setAttr(root, "data-paused", String(paused !== null));
  setAttr(root, "data-source", source || null);
  setAttr(root, "data-selected", selected || null);
}

/**
 * Paint the price and the ids of the view, in one frame with the rows they describe: a reader of both reads one view.
 * @param {PanelModel} model
 */
function paintBook(model) {
  const { view } = model;
  if (view !== null && model.paused === null) feed.shown(view, model.nowMs);
  panels.status.paintPrice(model);
  setAttr(root, "data-symbol", view?.symbol ?? null);
  setAttr(root, "data-seq", view?.seq ?? null);
  setAttr(root, "data-last-update-id", view?.last_update_id ?? null);
  setAttr(root, "data-book-state", view?.state ?? null);
}
