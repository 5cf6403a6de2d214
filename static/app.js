// Composition: data -> state -> painters, called in one animation frame, and commands back. It connects everything and
// computes nothing: what data means is in state.js and page_model.js, how it looks is in strip.js and panels/.

import { addresses } from "./api.js";
import { createCommands } from "./commands.js";
import { ServerData } from "./data.js";
import { find, setAttr, setVisible } from "./dom.js";
import { intervalOf } from "./intervals.js";
import { emptyPage, panelModel } from "./page_model.js";
import { PANELS } from "./panels/table.js";
import { Session } from "./session.js";
import { Settings } from "./settings.js";
import { createFrames } from "./signals.js";
import { createStrip } from "./strip.js";
import { createSymbols } from "./symbol_buttons.js";
import { createSymbolSearch } from "./symbol_search.js";
import { effect, untracked } from "./vendor/preact-signals-core-1.14.5/signals-core.mjs";
import { createWorkspace } from "./workspace.js";

/** @import {Config} from "./api.js" */

const TICK_MS = 250; // how often ages and countdowns are repainted, and the chart with its running bar
const KEEP_OLD_MS = 1_500; // how long the dimmed book of the symbol before stays while the new one loads
const LATENCY_AFTER_MS = 5_000; // the footer's latency is not part of the first load

const root = find(document, "#terminal");
const config = /** @type {Window & {PULSE?: Config}} */ (window).PULSE;
const server = addresses(config, document.baseURI);
const settings = new Settings();
const page = emptyPage(intervalOf(settings.get("interval")));
const model = panelModel(page);
const session = new Session(server, document.baseURI, { onChange: sessionChanged, onOpen: () => data.retry() });
const { platform } = session;
const commands = createCommands(page, settings, {
  data: () => data,
  open: {
    help: openHelp,
    proof: openProof,
    find: () => search.open(),
    filter: openFilter,
    layouts: openLayouts,
    maximise: () => workspace.maximiseFocused(),
  },
});
const data = new ServerData(page, server, platform, { onSymbols: commands.choose });
const strip = createStrip(root, { onRetry: () => data.retry(), onClose: commands.closeNotice });
const symbols = createSymbols(find(root, ".symbols"), { onSelect: commands.select });
const search = createSymbolSearch(find(root, ".symbol-search"), { onSelect: commands.select });
const frames = createFrames(() => strip.paintTitle(model));

// First, so that an error further down cannot leave "Live" over a half-painted book.
frames.add(paintRoot);
frames.add(() => strip.paintState(model));
frames.add(paintBook);
frames.add(() => symbols.paint(model));
frames.add(() => search.paint(model));
const context = { commands, data, settings, server, platform };
const workspace = createWorkspace(find(root, ".panels"), PANELS, page, frames, context);

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
  find(root, ".layouts-open").addEventListener("click", openLayouts);
  find(root, ".shield").addEventListener("click", openProof);
  find(root, ".log-out").addEventListener("click", () => session.logOut());
  effect(() => {
    const { wanted } = workspace;
    untracked(() => data.show(wanted));
  });
  setInterval(tick, TICK_MS);
  setTimeout(showLatency, LATENCY_AFTER_MS);
  data.start();
  session.check();
}

function tick() {
  data.tick();
  dropOldBook(page.nowMs);
  frames.tick();
}

/**
 * Drop the old symbol's dimmed book, which bridges the switch, after KEEP_OLD_MS.
 * @param {number} nowMs
 */
function dropOldBook(nowMs) {
  if (page.shown !== page.selected && nowMs - page.selectedAtMs >= KEEP_OLD_MS) page.shown = page.selected;
}

/** Go to the field of the tape that leaves out small trades, where there is a tape. */
function openFilter() {
  /** @type {HTMLElement | null} */
  const field = root.querySelector(".tape-least");
  field?.focus();
}

function openHelp() {
  /** @type {HTMLDialogElement} */
  const dialog = find(document, "dialog.help");
  if (!dialog.open) dialog.showModal();
}

/** @type {Promise<() => void> | null} */
let proof = null;

async function openProof() {
  proof ??= import("./dialogs/proof.js").then(({ createProof }) =>
    createProof(find(document, "dialog.proof"), page, server, platform),
  );
  const open = await proof;
  open();
}

async function openLayouts() {
  const { openLayoutDialog } = await import("./dialogs/layouts.js");
  openLayoutDialog(workspace);
}

/** @type {Promise<ReturnType<typeof import("./dialogs/login.js").createLogin>> | null} */
let login = null;

async function sessionChanged() {
  const { status } = session;
  setVisible(find(root, ".log-out"), status.canLogOut && !status.isNeeded);
  if (login === null && !status.isNeeded) return;
  login ??= import("./dialogs/login.js").then(({ createLogin }) =>
    createLogin(find(document, "dialog.login"), (token) => session.logIn(token)),
  );
  const paint = await login;
  paint(session.status);
}

async function showLatency() {
  const { startLatency } = await import("./latency.js");
  startLatency(find(root, ".latency"), page, server, platform);
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
}

function paintRoot() {
  const { status, paused, source, selected } = model;
  setAttr(root, "data-state", status.kind);
  setAttr(root, "data-trusted", String(status.trusted));
  setAttr(root, "data-paused", String(paused !== null));
  setAttr(root, "data-source", source || null);
  setAttr(root, "data-selected", selected || null);
}

/** Paint the price and the ids of the view in one frame with its rows: a reader of both reads one view. */
function paintBook() {
  const { view, paused } = model;
  if (view !== null && paused === null) data.shown(view, Date.now());
  strip.paintPrice(model);
  setAttr(root, "data-symbol", view?.symbol ?? null);
  setAttr(root, "data-seq", view?.seq ?? null);
  setAttr(root, "data-last-update-id", view?.last_update_id ?? null);
  setAttr(root, "data-book-state", view?.state ?? null);
}
