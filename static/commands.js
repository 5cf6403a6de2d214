// What the user can do: choose a symbol and an interval, pause, try again, open a dialog; by mouse, key or address.
// Each command changes the page's state; what is requested and painted follows from it.

import { intervalOf, MINUTE } from "./intervals.js";
import { command, neighbour } from "./keys.js";
import { heldDisplay, storeOf } from "./page_model.js";
import { firstSymbol } from "./symbol_names.js";

/** @import {ServerData} from "./data.js" */
/** @import {Command} from "./keys.js" */
/** @import {Page} from "./page_model.js" */
/** @import {Settings} from "./settings.js" */
/** @import {SymbolList} from "./types.js" */

/** @typedef {ReturnType<typeof createCommands>} Commands */

/**
 * Create the commands over `page`. `open` opens a dialog or a field by name.
 * @param {Page} page
 * @param {Settings} settings
 * @param {object} options
 * @param {() => ServerData} options.data
 * @param {Record<"help" | "proof" | "find" | "filter" | "layouts" | "maximise", () => void>} options.open
 */
export function createCommands(page, settings, { data, open }) {
  /** What to show first; `select` writes over both. */
  const wishes = [settings.symbol, settings.get("symbol")];
  /** The symbol that is shown until the server knows whether a wish is listed. */
  let standIn = /** @type {string | null} */ ("");

  /**
   * Choose the first symbol, as soon as the server has named those that it lists.
   * @param {SymbolList} list
   */
  function choose({ listed, default: fallback, is_listing_known: isListingKnown }) {
    if (page.selected === standIn) select(firstSymbol(listed, fallback, ...wishes));
    if (isListingKnown && standIn !== null) noteUnlisted(wishes[0]);
    standIn = isListingKnown ? null : page.selected;
  }

  /**
   * Say so if no such symbol is listed; another one is shown then.
   * @param {string} wish
   */
  function noteUnlisted(wish) {
    if (wish === "" || page.listed.includes(wish)) return;
    const count = page.listed.length;
    page.notice = `${wish} is not among the ${count} symbols that this exchange lists. Showing ${page.selected}.`;
    settings.setSymbol(page.selected);
  }

  function addressChanged() {
    settings.readAddress();
    const { symbol } = settings;
    selectInterval(settings.get("interval"));
    select(symbol);
    noteUnlisted(symbol);
  }

  function closeNotice() {
    page.notice = "";
  }

  /** @param {string | undefined} symbol */
  function select(symbol) {
    if (symbol === undefined || symbol === page.selected || !page.listed.includes(symbol)) return;
    const { book } = storeOf(page, symbol);
    Object.assign(page, { selected: symbol, selectedAtMs: Date.now(), paused: null, notice: "" });
    if (book.view !== null) page.shown = symbol;
    settings.setSymbol(symbol);
  }

  /** @param {string | undefined} name */
  function selectInterval(name) {
    const interval = intervalOf(name);
    if (interval === page.interval) return;
    page.interval = interval;
    settings.set("interval", interval === MINUTE ? "" : interval.name);
    data().loadHistories();
  }

  function togglePause() {
    page.paused = page.paused === null ? heldDisplay(page, Date.now()) : null;
  }

  let isByPointer = false;
  window.addEventListener("pointerdown", () => {
    isByPointer = true;
  });

  /** @param {KeyboardEvent} event */
  function keyPressed(event) {
    if (event.key === "Tab" || event.key.startsWith("Arrow")) isByPointer = false;
    const wanted = document.querySelector("dialog[open]") === null ? command(event, isByPointer) : null;
    if (wanted === null) return;
    event.preventDefault();
    run(wanted);
  }

  /** @param {Command} wanted */
  function run(wanted) {
    if (wanted.name === "pause") pauseByKey();
    else if (wanted.name === "symbol") select(page.symbols[wanted.at]?.symbol);
    else if (wanted.name === "step") select(neighbour(page.symbols, page.selected, wanted.by));
    else open[wanted.name]();
  }

  function pauseByKey() {
    // Firefox presses a focused button when the space bar is let go.
    if (isByPointer && document.activeElement instanceof HTMLElement) document.activeElement.blur();
    togglePause();
  }

  return { choose, select, selectInterval, togglePause, keyPressed, addressChanged, closeNotice, open };
}
