// What the user can do: choose a symbol and an interval, pause, try again, open a dialog; by mouse, key or address.
// Each command changes the page's state, asks for the data it needs, and marks what shows it.

import { intervalOf } from "./intervals.js";
import { command, neighbour } from "./keys.js";
import { shownBook } from "./page_model.js";
import { loadPref, savePref } from "./prefs.js";
import { emptyBook } from "./state.js";
import { firstSymbol, symbolOfHash } from "./symbol_names.js";

/** @import {ServerData} from "./data.js" */
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
  let standIn = "";

  /**
   * Choose the first symbol, as soon as the server has named those that it lists.
   * @param {SymbolList} list
   */
  function choose({ listed, default: fallback, is_listing_known: isListingKnown }) {
    if (page.selected === standIn) select(firstSymbol(listed, fallback, ...wishes));
    standIn = isListingKnown ? "" : page.selected;
  }

  /** @param {string | undefined} symbol */
  function select(symbol) {
    if (symbol === undefined || symbol === page.selected || !page.listed.includes(symbol)) return;
    Object.assign(page, { selected: symbol, selectedAtMs: Date.now(), paused: null, openedAtMs: 0, refusal: "" });
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
    const book = shownBook(page);
    page.paused = page.paused === null && book.view !== null ? { atMs: Date.now(), book } : null;
    mark("time", "book", "trades", "candles");
  }

  /** @param {KeyboardEvent} event */
  function keyPressed(event) {
    const wanted = document.querySelector("dialog[open]") === null ? command(event) : null;
    if (wanted === null) return;
    event.preventDefault();
    if (wanted.name === "pause") togglePause();
    else if (wanted.name === "symbol") select(page.symbols[wanted.at]?.symbol);
    else if (wanted.name === "step") select(neighbour(page.symbols, page.selected, wanted.by));
    else open[wanted.name]();
  }

  return { choose, select, selectInterval, togglePause, keyPressed };
}
