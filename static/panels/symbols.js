// The row of symbols to choose from. It paints the list it is given and reports a choice by name; what a choice
// means, and where it is remembered, is the roof's business.

import { attribute, element } from "../dom.js";

const SHORTCUTS_MAX = 9;
const NEAREST = { block: "nearest", inline: "nearest" };

/** Paints into `nav`; `onSelect(symbol)` is the reader's choice. */
export function createSymbols(nav, { onSelect }) {
  let painted = null;

  nav.addEventListener("click", (event) => {
    const button = event.target.closest("[data-symbol]");
    if (button !== null) onSelect(button.dataset.symbol);
  });

  return {
    paint({ symbols, selected }) {
      if (painted !== symbols) {
        painted = symbols;
        nav.replaceChildren(...symbols.map(symbolButton));
      }
      for (const button of nav.children) {
        const current = button.dataset.symbol === selected;
        if (current && !button.hasAttribute("aria-current")) button.scrollIntoView(NEAREST);
        attribute(button, "aria-current", current ? "true" : null);
      }
    },
  };
}

function symbolButton({ symbol, base_asset: base, quote_asset: quote, status }, at) {
  const halted = status !== null && status !== "TRADING"; // null: the exchange has not said yet
  return element(
    "button",
    {
      type: "button",
      class: "symbol",
      "data-symbol": symbol,
      "data-halted": halted,
      "aria-keyshortcuts": at < SHORTCUTS_MAX ? at + 1 : null,
      title: halted ? `Not trading: ${status}` : null,
    },
    element("span", { class: "symbol-base" }, base || symbol),
    element("span", { class: "symbol-quote" }, quote ? `/${quote}` : ""),
  );
}
