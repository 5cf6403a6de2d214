// What the user can do: choose a symbol and an interval, pause, try again, open a dialog; by mouse, key or address.
// Each command changes the page's state, asks for the data it needs, and marks what shows it.

import { intervalOf } from "./intervals.js";
import { command, neighbour } from "./keys.js";
import { heldDisplay } from "./page_model.js";
import { loadPref, savePref } from "./prefs.js";
import { emptyBook } from "./state.js";
import { firstSymbol, symbolOfHash } from "./symbol_names.js";

/** @import {ServerData} from "./data.js" */
/** @import {Command} from "./keys.js" */
/** @import {Page} from "./page_model.js" */
/** @import {SymbolList} from "./types.js" */

/**
 * Create the commands over `page`. `open` opens a dialog or a field by name.
 * @param {Page} page
 * @param {object} options
 * @param {() => ServerData} options.data
 * @param {(...names: string[]) => void} options.mark requests a paint of what shows these parts of the state
 * @param {Record<"help" | "proof" | "find", () => void>} options.open
 */
export function createCommands(page, { data, mark, open }) {
  /** What to show first; `select` writes over both. */
  const wishes = [symbolOfHash(window.location.hash), loadPref("symbol")];
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
   * @param {string | null} wish
   */
  function noteUnlisted(wish) {
    if (!wish || page.listed.includes(wish)) return;
    const count = page.listed.length;
    page.notice = `${wish} is not among the ${count} symbols that this exchange lists. Showing ${page.selected}.`;
    window.history.replaceState(null, "", `#${page.selected}`);
    mark("time");
  }

  function addressChanged() {
    const symbol = symbolOfHash(window.location.hash);
    select(symbol);
    noteUnlisted(symbol);
  }

  function closeNotice() {
    page.notice = "";
    mark("time");
  }

  /** @param {string | undefined} symbol */
  function select(symbol) {
    if (symbol === undefined || symbol === page.selected || !page.listed.includes(symbol)) return;
    Object.assign(page, { selected: symbol, selectedAtMs: Date.now(), paused: null, openedAtMs: 0, refusal: "" });
    page.notice = "";
    const book = page.books.get(symbol) ?? emptyBook(symbol);
    page.books.set(symbol, book);
    if (book.view !== null) page.shown = symbol;
    window.history.replaceState(null, "", `#${symbol}`);
    savePref("symbol", symbol);
    data().openFeed();
    data().loadHistory();
    mark("time", "symbols", "book", "trades", "candles");
  }

  /** @param {string | undefined} name */
  function selectInterval(name) {
    page.interval = intervalOf(name);
    savePref("interval", page.interval.name);
    data().loadHistory();
    mark("time", "candles");
  }

  function togglePause() {
    page.paused = page.paused === null ? heldDisplay(page, data().statuses, Date.now()) : null;
    mark("time", "book", "trades", "candles");
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

  return { choose, select, selectInterval, togglePause, keyPressed, addressChanged, closeNotice };
}
