// The search field over all symbols that the exchange lists, as a combobox: typing filters the list, arrow keys move
// through it, Enter or a click selects. It reports the selected symbol by name.

import { closest, element, find, setAttr, setText, setVisible } from "./dom.js";
import { matching } from "./symbol_names.js";

/** @import {PanelModel} from "./page_model.js" */

const SHOWN_MAX = 12; // rows of the list; a line below it counts further matches

/**
 * Paint into `box`.
 * @param {HTMLElement} box
 * @param {{onSelect: (symbol: string) => void}} options
 */
export function createSymbolSearch(box, { onSelect }) {
  /** @type {HTMLInputElement} */
  const field = find(box, "input");
  const popup = find(box, ".search-results");
  const list = find(box, "[role=listbox]");
  const count = find(box, ".search-count");
  /** @type {string[]} */
  let listed = [];
  /** The names in the list.
   * @type {string[]}
   */
  let names = [];
  let current = 0; // index of the row that Enter selects

  field.addEventListener("focus", open);
  field.addEventListener("input", open);
  field.addEventListener("blur", close);
  field.addEventListener("keydown", keyPressed);
  popup.addEventListener("pointerdown", (event) => event.preventDefault()); // or the field would lose the focus first
  list.addEventListener("click", (event) => choose(closest(event, "[role=option]")?.dataset.symbol));

  function open() {
    const found = matching(listed, field.value);
    names = found.slice(0, SHOWN_MAX);
    current = 0;
    list.replaceChildren(...names.map(row));
    setText(count, countText(found.length, listed.length));
    setOpen(true);
    markCurrent();
  }

  function close() {
    field.value = "";
    setOpen(false);
  }

  /** @param {boolean} isOpen */
  function setOpen(isOpen) {
    setVisible(popup, isOpen);
    setAttr(field, "aria-expanded", String(isOpen));
    if (!isOpen) setAttr(field, "aria-activedescendant", null);
  }

  function markCurrent() {
    for (const [index, option] of [...list.children].entries()) {
      setAttr(option, "aria-selected", String(index === current));
      if (index === current) option.scrollIntoView({ block: "nearest" });
    }
    setAttr(field, "aria-activedescendant", names.length === 0 ? null : rowId(current));
  }

  /** @param {string | undefined} symbol */
  function choose(symbol) {
    if (symbol === undefined) return;
    field.blur();
    onSelect(symbol);
  }

  /** @param {KeyboardEvent} event */
  function keyPressed(event) {
    if (event.isComposing) return;
    if (event.key === "Enter") choose(names[current]);
    else if (event.key === "Escape") field.blur();
    else if (event.key === "ArrowDown") step(1);
    else if (event.key === "ArrowUp") step(-1);
    else return;
    event.preventDefault();
  }

  /** @param {number} by */
  function step(by) {
    if (names.length === 0) return;
    current = (current + by + names.length) % names.length;
    markCurrent();
  }

  return {
    /**
     * Show the field where more symbols are listed than have a button.
     * @param {PanelModel} model
     */
    paint({ symbols, listed: all }) {
      listed = all;
      setVisible(box, all.length > symbols.length);
    },
    /** Move the focus to the field. */
    open() {
      field.focus();
    },
  };
}

/** @param {number} at */
function rowId(at) {
  return `search-result-${at}`;
}

/**
 * @param {string} symbol
 * @param {number} at
 */
function row(symbol, at) {
  return element("li", { role: "option", id: rowId(at), class: "search-result", "data-symbol": symbol }, symbol);
}

/**
 * @param {number} found
 * @param {number} listed
 */
function countText(found, listed) {
  if (found === 0) return `No match among ${listed} listed symbols. Try another name.`;
  return found > SHOWN_MAX ? `${found - SHOWN_MAX} more: type on to narrow the list` : `${found} of ${listed} symbols`;
}
