// Composition: data -> state -> panels, painted in one animation frame, and commands back. It connects everything and
// computes nothing: what data means is in state.js and page_model.js, how it looks is in panels/.

import { addresses } from "./api.js";
import { createCommands } from "./commands.js";
import { PROOF_MS, ServerData } from "./data.js";
import { find, setAttr } from "./dom.js";
import { intervalOf } from "./intervals.js";
import { emptyPage, panelModel } from "./page_model.js";
import { createCandles } from "./panels/candles.js";
import { createLadder } from "./panels/ladder.js";
import { createLatency } from "./panels/latency.js";
import { createSession } from "./panels/login.js";
import { createMetrics } from "./panels/metrics.js";
import { createNotice } from "./panels/notice.js";
import { createProof } from "./panels/proof.js";
import { createStatus } from "./panels/status.js";
import { createStreamAges } from "./panels/stream_ages.js";
import { createSymbolSearch } from "./panels/symbol_search.js";
import { createSymbols } from "./panels/symbols.js";
import { createTrades } from "./panels/trades.js";
import { loadPref } from "./prefs.js";
import { createSchedule } from "./schedule.js";

/** @import {Config} from "./api.js" */
/** @import {PanelModel} from "./page_model.js" */

const CHARTS = "./vendor/lightweight-charts-5.2.1/lightweight-charts.standalone.production.mjs";
const TICK_MS = 250; // how often ages, countdowns and the chart's running bar are repainted
const KEEP_OLD_MS = 1_500; // how long the dimmed book of the symbol before stays while the new one loads

const root = find(document, "#terminal");
const config = /** @type {Window & {PULSE?: Config}} */ (window).PULSE;
const server = addresses(config, document.baseURI);
const page = emptyPage(intervalOf(loadPref("interval")));
const schedule = createSchedule(paint, paintTitle);
const session = createSession(root, find(document, "dialog.login"), server, () => data.retry());
const commands = createCommands(page, {
  data: () => data,
  mark: schedule.mark,
  open: { help: openHelp, proof: () => panels.proof.open(), find: () => panels.search.open() },
});
const data = new ServerData(page, server, session.platform, { mark: schedule.mark, onSymbols: commands.choose });

/** The panels by name. To add one: its entry here, and in PAINTED below. */
const panels = {
  status: createStatus(root, { onRetry: () => data.retry() }),
  symbols: createSymbols(find(root, ".symbols"), { onSelect: commands.select }),
  search: createSymbolSearch(find(root, ".symbol-search"), { onSelect: commands.select }),
  ladder: createLadder(find(root, ".panel.ladder"), { onResize: () => schedule.mark("book") }),
  metrics: createMetrics(find(root, ".panel.metrics")),
  trades: createTrades(find(root, ".panel.trades"), { onScroll: () => schedule.mark("trades") }),
  proof: createProof(root, find(document, "dialog.proof"), {
    everyMs: PROOF_MS,
    onOpen: () => data.startProof(),
    onClose: () => data.stopProof(),
  }),
  latency: createLatency(find(root, ".latency")),
  ages: createStreamAges(root),
  notice: createNotice(find(root, ".notice"), { onClose: commands.closeNotice }),
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

start();

function start() {
  window.addEventListener("error", ({ error }) => failed(error));
  window.addEventListener("unhandledrejection", ({ reason }) => failed(reason));
  window.addEventListener("hashchange", commands.addressChanged);
  window.addEventListener("online", () => data.retry());
  window.addEventListener("keydown", commands.keyPressed);
  document.addEventListener("visibilitychange", () => data.check());
  find(document, ".skip").addEventListener("click", skipToBook);
  find(root, ".pause").addEventListener("click", commands.togglePause);
  find(root, ".help-open").addEventListener("click", openHelp);
  find(root, ".chart-retry").addEventListener("click", () => data.retryHistory());
  setInterval(() => schedule.mark("time", "candles"), TICK_MS);
  data.start();
  session.check();
  loadCharts();
}

async function loadCharts() {
  /** @type {typeof import("lightweight-charts")} */
  const library = await import(CHARTS);
  panels.candles = createCandles(find(root, ".panel.chart"), library, {
    onHover: () => schedule.mark("candles"),
    onInterval: commands.selectInterval,
    onNearStart: () => data.loadOlder(),
  });
  PAINTED.candles.push(panels.candles);
  schedule.mark("candles");
}

function openHelp() {
  /** @type {HTMLDialogElement} */
  const dialog = find(document, "dialog.help");
  if (!dialog.open) dialog.showModal();
}

/**
 * Focus the order book. The address names the symbol, so that following the link must not change it.
 * @param {Event} event
 */
function skipToBook(event) {
  event.preventDefault();
  find(root, ".ladder-table").focus();
}

/** @param {unknown} error */
function failed(error) {
  if (!(error instanceof Error)) return; // for example the browser's own note that a resize came late
  page.fault = error.message;
  schedule.mark("time");
}

// ---- one frame: paint what is marked from the newest state

/** @param {Set<string>} marked */
function paint(marked) {
  const nowMs = Date.now();
  if (dropOldBook(nowMs)) for (const name of ["book", "trades", "candles"]) marked.add(name);
  const model = panelModel(page, data.statuses, nowMs);
  // First, so that an error further down cannot leave "Live" over a half-painted book.
  panels.status.paintState(model);
  panels.ages.paint(model);
  panels.notice.paint(model);
  panels.proof.paintShield(model);
  panels.ladder.paintOverlay(model);
  panels.candles?.paintNotice(model);
  paintRoot(model);
  if (marked.has("book")) {
    paintBook(model);
    if (panels.candles?.isOutrun(model)) marked.add("candles");
  }
  for (const [name, painted] of Object.entries(PAINTED)) {
    if (marked.has(name)) for (const panel of painted) panel.paint(model);
  }
}

/** Of a hidden tab the title alone is seen. */
function paintTitle() {
  panels.status.paintTitle(panelModel(page, data.statuses, Date.now()));
}

/**
 * Drop the old symbol's dimmed book, which bridges the switch, after KEEP_OLD_MS, or at once where there is no new one.
 * Return whether it was dropped.
 * @param {number} nowMs
 */
function dropOldBook(nowMs) {
  if (page.shown === page.selected) return false;
  if (page.refusal === "" && nowMs - page.selectedAtMs < KEEP_OLD_MS) return false;
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
  if (view !== null && model.paused === null) data.shown(view, model.nowMs);
  panels.status.paintPrice(model);
  setAttr(root, "data-symbol", view?.symbol ?? null);
  setAttr(root, "data-seq", view?.seq ?? null);
  setAttr(root, "data-last-update-id", view?.last_update_id ?? null);
  setAttr(root, "data-book-state", view?.state ?? null);
}
