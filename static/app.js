// The roof: connection and API -> state -> panels, painted in one animation frame. It sees everything and computes
// nothing: what things mean is in state.js, how they look is in panels/.

import { addresses } from "./api.js";
import { attribute } from "./dom.js";
import { Feed } from "./feed.js";
import { Fetcher } from "./fetcher.js";
import { applyCandles, EMPTY_CHART, intervalOf, MINUTE } from "./intervals.js";
import { command, neighbour } from "./keys.js";
import { remember, remembered } from "./prefs.js";
import { createCandles } from "./panels/candles.js";
import { createFinder } from "./panels/symbol_search.js";
import { createLadder } from "./panels/ladder.js";
import { createLatency } from "./panels/latency.js";
import { createMetrics } from "./panels/metrics.js";
import { createProof } from "./panels/proof.js";
import { createStatus } from "./panels/status.js";
import { createSymbols } from "./panels/symbols.js";
import { createTrades } from "./panels/trades.js";
import { createSchedule } from "./schedule.js";
import {
  apply,
  applyHistory,
  emptyBook,
  firstSymbol,
  missesMinute,
  startsOver,
  verdict,
  withoutUnknown,
} from "./state.js";

const CHARTS = "./vendor/lightweight-charts-5.2.1/lightweight-charts.standalone.production.mjs";
const TICK_MS = 250; // how often ages, countdowns and the chart's live bar are brought up to date
const HISTORY_LIMIT = 500;
const EMPTY_HISTORY_MS = 5_000;
const NEWEST_BARS = 3; // the running bar of a longer interval is asked for with those before it, CHART_MS apart
const CHART_MS = 2_000;
const FILLING_MS = 5_000; // how often it is asked how far the server has come with the past, while it fetches it
const STORE_MS = 10_000; // how often the page asks whether candles are stored
const LATENCY_MS = 10_000; // how often the delays are asked for
const PROOF_MS = 2_000; // how often an open certificate is asked for anew
const KEEP_OLD_MS = 1_500; // how long another symbol's dimmed book may stand in while the new one comes

const root = document.getElementById("terminal");
const where = addresses(window.PULSE, document.baseURI);
const books = new Map(); // symbol -> what state.js keeps of it
const charts = new Map(); // "symbol interval" -> bars of an interval that is not a minute
const page = {
  symbols: [],
  listed: [], // those the server follows, and the names of all that it would
  source: "",
  fault: "",
  refusal: "", // why the server does not send the selected symbol
  interval: intervalOf(remembered("interval")),
  selected: "",
  selectedAtMs: 0, // the symbol the reader wants
  shown: "", // the symbol whose book is on the screen: for a moment still the one before
  paused: null, // {atMs, book} while the reader holds the picture
  openedAtMs: 0,
  store: null, // what the server last said of its store
  certificate: null, // {body, readAtMs, url, instrument} while its dialog is open
  asking: null, // the timer that asks for it
  latency: null, // the newest report on delays
};

const schedule = createSchedule(paint);
const feed = new Feed({ onPicture: received, onChange: lineChanged, onRefused: refused });
const history = new Fetcher({ onData: historyCame, onChange: () => schedule.mark("time") });
const symbols = new Fetcher({ onData: symbolsCame, onChange: () => schedule.mark("time") });
const store = new Fetcher({ onData: storeCame, onChange: () => {} });
const latency = new Fetcher({ onData: latencyCame, onChange: () => {} });
const proof = new Fetcher({ onData: certificateCame, onChange: () => schedule.mark("proof") });

const panel = (name) => root.querySelector(`.panel.${name}`);
const panels = {
  status: createStatus(root, { onRetry: retry }),
  symbols: createSymbols(root.querySelector(".symbols"), { onSelect: select }),
  finder: createFinder(root.querySelector(".finder"), { onSelect: select }),
  ladder: createLadder(panel("ladder"), { onResize: () => schedule.mark("book") }),
  metrics: createMetrics(panel("metrics")),
  trades: createTrades(panel("trades")),
  proof: createProof(root, document.querySelector("dialog.certificate"), {
    everyMs: PROOF_MS,
    onOpen: startAsking,
    onClose: stopAsking,
  }),
  latency: createLatency(root.querySelector(".latency")),
  candles: null, // its library is the largest file: the book does not wait for it
};

start();

function start() {
  window.addEventListener("error", ({ error }) => failed(error));
  window.addEventListener("unhandledrejection", ({ reason }) => failed(reason));
  window.addEventListener("hashchange", () => select(wished()));
  window.addEventListener("online", retry);
  window.addEventListener("keydown", pressed);
  document.addEventListener("visibilitychange", () => feed.check());
  root.querySelector(".pause").addEventListener("click", togglePause);
  root.querySelector(".help-open").addEventListener("click", openHelp);
  root.querySelector(".chart-retry").addEventListener("click", () => history.retryNow());
  setInterval(() => schedule.mark("time", "candles"), TICK_MS);
  setInterval(followInterval, CHART_MS);
  setInterval(askStore, STORE_MS);
  setInterval(askLatency, LATENCY_MS);
  askSymbols();
  loadCharts();
}

async function loadCharts() {
  const library = await import(CHARTS);
  panels.candles = createCandles(panel("chart"), library, {
    onHover: () => schedule.mark("candles"),
    onInterval: selectInterval,
  });
  schedule.mark("candles");
}

// ---- news comes in: change what is known, mark what shows it

function symbolsCame({ symbols: list, listed, source, default: fallback }) {
  const before = pastOf(page.selected);
  page.symbols = list;
  page.listed = listed;
  page.source = source;
  forgetOthers();
  schedule.mark("symbols");
  if (page.selected === "") select(firstSymbol(listed, fallback, wished(), remembered("symbol")));
  else if (pastOf(page.selected)?.minutes !== before?.minutes) loadHistory(); // the chart reaches further back now
  if (list.some(({ history: past }) => past && past.minutes < past.of)) setTimeout(askSymbols, FILLING_MS);
}

// What was kept of a symbol that the server follows no more would grow with every symbol ever looked at.
function forgetOthers() {
  const isKept = (symbol) => followed(symbol) !== undefined || symbol === page.selected || symbol === page.shown;
  for (const symbol of books.keys()) if (!isKept(symbol)) books.delete(symbol);
  for (const key of charts.keys()) if (!isKept(key.split(" ", 1)[0])) charts.delete(key);
}

function followed(symbol) {
  return page.symbols.find((known) => known.symbol === symbol);
}

// How far the server has come with fetching a symbol's past; null where nothing fetches it.
function pastOf(symbol) {
  return followed(symbol)?.history ?? null;
}

function askSymbols() {
  symbols.load(where.http("api/symbols"));
}

function received(picture) {
  const known = books.get(picture.symbol);
  if (known === undefined) return;
  const book = apply(known, picture, Date.now());
  books.set(picture.symbol, book);
  page.source = picture.source;
  if (picture.symbol !== page.selected) return;
  page.shown = picture.symbol;
  page.refusal = "";
  if (known.picture === null && followed(picture.symbol) === undefined) askSymbols(); // it has just been started
  const holed = book.bars !== known.bars && missesMinute(book.bars);
  if (holed || startsOver(known.picture, picture)) loadHistory();
  schedule.mark("time", "book", "trades"); // the chart, far dearer to draw, follows with the next tick
}

function lineChanged() {
  const { openedAtMs } = feed.status;
  // Minutes that closed while the line was down are in the store, not in the next picture.
  const reopened = page.openedAtMs !== 0 && page.openedAtMs !== openedAtMs;
  page.openedAtMs = openedAtMs;
  if (reopened && history.status.phase !== "loading") loadHistory();
  schedule.mark("time");
}

function loadHistory(limit = HISTORY_LIMIT) {
  const { selected: symbol, interval } = page;
  history.load(where.http("api/ohlcv", { symbol, interval: interval.name, limit }), { symbol, interval });
}

// A minute's running candle is in each picture; that of a longer interval is asked for.
function followInterval() {
  if (page.interval === MINUTE || page.paused !== null || history.status.phase !== "ready") return;
  loadHistory(NEWEST_BARS);
}

function historyCame(candles, { symbol, interval }) {
  if (interval === MINUTE) books.set(symbol, applyHistory(books.get(symbol), candles));
  else charts.set(chartKey(symbol, interval), applyCandles(chartOf(symbol, interval), candles));
  schedule.mark("candles");
  // A server that has just started is still fetching the past: it is asked again until there is some.
  if (candles.length === 0) setTimeout(() => askAgain(symbol), EMPTY_HISTORY_MS);
  if (page.refusal !== "" && symbol === page.selected) retry(); // there is room for it now
}

function chartKey(symbol, interval) {
  return `${symbol} ${interval.name}`;
}

function chartOf(symbol, interval) {
  return charts.get(chartKey(symbol, interval)) ?? EMPTY_CHART;
}

function askAgain(symbol) {
  if (history.status.phase === "ready" && page.selected === symbol) loadHistory();
}

function askStore() {
  if (feed.status.phase === "open") store.load(where.http("api/store"));
}

function storeCame(body) {
  page.store = body;
  schedule.mark("time");
}

function askProof() {
  if (page.selected === "" || proof.status.phase === "loading") return;
  proof.load(where.http(`api/proof/${encodeURIComponent(page.selected)}`), page.selected);
}

function askLatency() {
  if (feed.status.phase === "open" && !document.hidden) latency.load(where.http("api/latency"));
}

function latencyCame(report) {
  page.latency = report;
  schedule.mark("latency");
}

function certificateCame(body, symbol) {
  const url = where.http(`api/proof/${encodeURIComponent(symbol)}`);
  const instrument = followed(symbol);
  page.certificate = { body, readAtMs: Date.now(), url, instrument };
}

function refused(detail) {
  page.refusal = detail;
  schedule.mark("time");
}

function failed(error) {
  if (!(error instanceof Error)) return; // for example the browser's own note that a resize came late
  page.fault = error.message;
  schedule.mark("time");
}

// ---- the reader acts

function select(symbol) {
  if (symbol === page.selected || !page.listed.includes(symbol)) return;
  Object.assign(page, { selected: symbol, selectedAtMs: Date.now(), paused: null, openedAtMs: 0, refusal: "" });
  if (!books.has(symbol)) books.set(symbol, emptyBook(symbol));
  if (books.get(symbol).picture !== null) page.shown = symbol;
  window.history.replaceState(null, "", `#${symbol}`);
  remember("symbol", symbol);
  feed.follow(where.feed(), symbol);
  loadHistory();
  schedule.mark("time", "symbols", "book", "trades", "candles");
}

function selectInterval(name) {
  page.interval = intervalOf(name);
  remember("interval", page.interval.name);
  loadHistory();
  schedule.mark("time", "candles");
}

function retry() {
  if (page.refusal === "") feed.retryNow();
  else feed.follow(where.feed(), page.selected);
  history.retryNow();
  symbols.retryNow();
}

function togglePause() {
  const book = shownBook();
  const frozen = page.paused === null && book.picture !== null;
  page.paused = frozen ? { atMs: Date.now(), book } : null;
  schedule.mark("time", "book", "trades", "candles");
}

function openHelp() {
  const dialog = document.querySelector("dialog.help");
  if (!dialog.open) dialog.showModal();
}

function startAsking() {
  page.certificate = null;
  page.asking = setInterval(askProof, PROOF_MS);
  askProof();
  schedule.mark("proof");
}

function stopAsking() {
  clearInterval(page.asking);
  proof.stop();
}

function pressed(event) {
  const wanted = document.querySelector("dialog[open]") === null ? command(event) : null;
  if (wanted === null) return;
  event.preventDefault();
  if (wanted.name === "pause") togglePause();
  if (wanted.name === "help") openHelp();
  if (wanted.name === "proof") panels.proof.open();
  if (wanted.name === "find") panels.finder.open();
  if (wanted.name === "symbol") select(page.symbols[wanted.at]?.symbol);
  if (wanted.name === "step") select(neighbour(page.symbols, page.selected, wanted.by));
}

function wished() {
  return window.location.hash.slice(1).toUpperCase();
}

// ---- one frame: paint what is marked from what is known

function shownBook() {
  if (page.paused !== null) return page.paused.book;
  return books.get(page.shown) ?? books.get(page.selected) ?? emptyBook("");
}

function paint(dirty) {
  const nowMs = Date.now();
  dropForeignBook(nowMs, dirty);
  const view = readView(nowMs);
  // First, so that a fault further down cannot leave "Live" over a half-painted picture.
  panels.status.paintState(view);
  panels.proof.paintShield(view);
  panels.ladder.paintVeil(view);
  panels.candles?.paintTrouble(view);
  paintRoot(view);
  if (dirty.has("symbols")) {
    panels.symbols.paint(view);
    panels.finder.paint(view);
  }
  if (dirty.has("book")) paintBook(view);
  if (dirty.has("trades")) panels.trades.paint(view);
  if (dirty.has("candles")) panels.candles?.paint(view);
  if (dirty.has("proof")) panels.proof.paint(view);
  if (dirty.has("latency")) panels.latency.paint(view);
}

// The old symbol's dimmed book bridges the switch, but must not stand under the new name for long.
function dropForeignBook(nowMs, dirty) {
  if (page.shown === page.selected || nowMs - page.selectedAtMs < KEEP_OLD_MS) return;
  page.shown = page.selected;
  for (const name of ["book", "trades", "candles"]) dirty.add(name);
}

function readView(nowMs) {
  const book = withoutUnknown(shownBook());
  const newest = books.get(page.selected) ?? emptyBook("");
  return {
    ...book,
    ...(page.interval === MINUTE ? {} : chartOf(book.symbol, page.interval)),
    interval: page.interval,
    filling: pastOf(page.selected),
    nowMs,
    instrument: book.picture?.instrument ?? null,
    verdict: standing(newest, nowMs),
    connection: feed.status,
    store: page.store,
    retryable: page.refusal !== "" || feed.status.phase === "waiting" || symbols.status.phase === "waiting",
    history: history.status,
    source: page.source,
    symbols: page.symbols,
    listed: page.listed,
    selected: page.selected,
    paused: page.paused,
    certificate: page.certificate,
    latency: page.latency,
    trouble: proof.status.reason,
    waiting: page.paused === null ? 0 : newest.trades.filter(({ id }) => id > (book.trades[0]?.id ?? -1)).length,
  };
}

function standing(book, nowMs) {
  const said = verdict({ connection: feed.status, book, nowMs, refusal: page.refusal, fault: page.fault });
  if (page.fault !== "") return said;
  if (page.symbols.length === 0) return withoutSymbols(said, nowMs);
  return said.kind === "connecting" ? { ...said, words: `Loading ${page.selected}` } : said;
}

function withoutSymbols(said, nowMs) {
  const { phase, reason, retryAtMs } = symbols.status;
  if (phase !== "waiting") return { ...said, words: "Connecting: asking for the symbols" };
  const wait = Math.max(1, Math.ceil((retryAtMs - nowMs) / 1000));
  return { ...said, kind: "disconnected", words: `Disconnected: ${reason}. Trying again in ${wait} s` };
}

function paintRoot({ verdict: said, paused, source, selected }) {
  attribute(root, "data-state", said.kind);
  attribute(root, "data-trusted", String(said.trusted));
  attribute(root, "data-paused", String(paused !== null));
  attribute(root, "data-source", source || null);
  attribute(root, "data-selected", selected || null);
}

// The ids change together with the rows they describe, in one frame: whoever reads both reads one picture.
function paintBook(view) {
  const { picture } = view;
  if (picture !== null && view.paused === null) feed.shown(picture, view.nowMs);
  panels.status.paintPrice(view);
  panels.ladder.paint(view);
  panels.metrics.paint(view);
  attribute(root, "data-symbol", picture?.symbol ?? null);
  attribute(root, "data-seq", picture?.seq ?? null);
  attribute(root, "data-last-update-id", picture?.last_update_id ?? null);
  attribute(root, "data-book-state", picture?.state ?? null);
}
