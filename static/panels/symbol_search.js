// The field that finds a symbol among all that the exchange lists, as a combobox: typing narrows the list, the arrows
// walk it, Enter or a click takes one. What taking one means is the roof's business.

import { attribute, element, show, write } from "../dom.js";
import { matching } from "../state.js";

const SHOWN_MAX = 12; // rows of the list; how many more there are is said

/** Paints into `box`; `onSelect(symbol)` is the reader's choice. */
export function createFinder(box, { onSelect }) {
  const field = box.querySelector("input");
  const popup = box.querySelector(".found");
  const list = box.querySelector("[role=listbox]");
  const more = box.querySelector(".found-more");
  let listed = [];
  let names = []; // what the list shows
  let at = 0; // the row that Enter takes

  field.addEventListener("focus", open);
  field.addEventListener("input", open);
  field.addEventListener("blur", close);
  field.addEventListener("keydown", pressed);
  popup.addEventListener("pointerdown", (event) => event.preventDefault()); // or the field would lose the focus first
  list.addEventListener("click", (event) => take(event.target.closest("[role=option]")?.dataset.symbol));

  function open() {
    const found = matching(listed, field.value);
    names = found.slice(0, SHOWN_MAX);
    at = 0;
    list.replaceChildren(...names.map(row));
    write(more, moreWords(found.length, listed.length));
    unfold(true);
    point();
  }

  function close() {
    field.value = "";
    unfold(false);
  }

  function unfold(open) {
    show(popup, open);
    attribute(field, "aria-expanded", String(open));
    if (!open) attribute(field, "aria-activedescendant", null);
  }

  function point() {
    for (const [index, option] of [...list.children].entries()) {
      attribute(option, "aria-selected", String(index === at));
      if (index === at) option.scrollIntoView({ block: "nearest" });
    }
    attribute(field, "aria-activedescendant", names.length === 0 ? null : rowId(at));
  }

  function take(symbol) {
    if (symbol === undefined) return;
    field.blur();
    onSelect(symbol);
  }

  function pressed(event) {
    if (event.isComposing) return;
    if (event.key === "Enter") take(names[at]);
    else if (event.key === "Escape") field.blur();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") step(event.key === "ArrowDown" ? 1 : -1);
    else return;
    event.preventDefault();
  }

  function step(by) {
    if (names.length === 0) return;
    at = (at + by + names.length) % names.length;
    point();
  }

  return {
    /** There is something to find where more is listed than has a button. */
    paint({ symbols, listed: all }) {
      listed = all;
      show(box, all.length > symbols.length);
    },
    /** Brings the reader to the field. */
    open() {
      field.focus();
    },
  };
}

function rowId(at) {
  return `found-${at}`;
}

function row(symbol, at) {
  return element("li", { role: "option", id: rowId(at), class: "found-symbol", "data-symbol": symbol }, symbol);
}

function moreWords(found, listed) {
  if (found === 0) return `None of the ${listed} listed symbols has that in its name`;
  return found > SHOWN_MAX ? `and ${found - SHOWN_MAX} more: type on` : `${found} of ${listed} listed symbols`;
}
