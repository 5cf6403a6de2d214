// The row of symbol buttons. It paints the list it is given and reports a click by the symbol's name.

import { closest, element, setAttr } from "./dom.js";

/** @import {PanelModel} from "./page_model.js" */
/** @import {SymbolInfo} from "./types.js" */

const SHORTCUTS_MAX = 9;
/** @type {ScrollIntoViewOptions} */
const NEAREST = { block: "nearest", inline: "nearest" };

/**
 * Paint into `nav`.
 * @param {HTMLElement} nav
 * @param {{onSelect: (symbol: string | undefined) => void}} options
 */
export function createSymbols(nav, { onSelect }) {
  /** @type {SymbolInfo[] | null} */
  let painted = null;
  /** @type {HTMLButtonElement[]} */
  let buttons = [];

  nav.addEventListener("click", (event) => {
    const button = closest(event, "[data-symbol]");
    if (button !== null) onSelect(button.dataset.symbol);
  });

  return {
    /** @param {PanelModel} model */
    paint({ symbols, selected }) {
      if (painted !== symbols) {
        painted = symbols;
        buttons = symbols.map(symbolButton);
        nav.replaceChildren(...buttons);
      }
      for (const button of buttons) {
        const isCurrent = button.dataset.symbol === selected;
        if (isCurrent && !button.hasAttribute("aria-current")) button.scrollIntoView(NEAREST);
        setAttr(button, "aria-current", isCurrent ? "true" : null);
      }
    },
  };
}

/**
 * @param {SymbolInfo} info
 * @param {number} at
 */
function symbolButton({ symbol, base_asset: base, quote_asset: quote, status }, at) {
  const isHalted = status !== null && status !== "TRADING"; // null: the exchange has not described it yet
  return element(
    "button",
    {
      type: "button",
      class: "symbol",
      "data-symbol": symbol,
      "data-halted": isHalted,
      "aria-keyshortcuts": at < SHORTCUTS_MAX ? at + 1 : null,
      title: isHalted ? `Not trading: ${status}` : null,
    },
    element("span", { class: "symbol-base" }, base || symbol),
    element("span", { class: "symbol-quote" }, quote ? `/${quote}` : ""),
  );
}
