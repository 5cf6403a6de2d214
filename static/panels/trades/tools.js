// The tape's tools: the least worth of a trade that is shown, and the span of bought and sold. Choices are settings.

import { element, setAttr, setText } from "../../dom.js";
import { fixed } from "../../format.js";
import { leastOf, SPAN_MS, SPANS_MS, spanText } from "../../tape_figures.js";

/** @import {Settings} from "../../settings.js" */
/** @import {Instrument} from "../../types.js" */

const LEAST = "tape.least";
const SPAN = "tape.span";

/**
 * Create the tools in `host`.
 * @param {HTMLElement} host
 * @param {Settings} settings
 */
export function createTools(host, settings) {
  const unit = element("span", { class: "unit" });
  const count = element("span", { class: "tape-count figure", role: "status", "data-testid": "tape-count" });
  const least = element("input", {
    class: "tape-least figure",
    "data-testid": "tape-least",
    type: "text",
    inputmode: "decimal",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "all",
    maxlength: 12,
    title: "Show only trades worth at least so much: a number, also with K or M",
    "aria-keyshortcuts": "t",
  });
  const span = element(
    "select",
    { class: "tape-span", "data-testid": "tape-span", "aria-label": "Span of bought and sold" },
    ...SPANS_MS.map((spanMs) => element("option", { value: spanMs / 1000 }, spanText(spanMs))),
  );
  host.append(element("label", {}, "Min ", least, " ", unit), count, span);

  least.addEventListener("input", () => {
    const isNumber = leastOf(least.value) !== null;
    setAttr(least, "aria-invalid", isNumber ? null : "true");
    if (isNumber) settings.set(LEAST, least.value.trim());
  });
  least.addEventListener("keydown", ({ key }) => {
    if (key === "Enter") least.blur();
  });
  span.addEventListener("change", () => settings.set(SPAN, Number(span.value) === SPAN_MS / 1000 ? "" : span.value));

  return {
    /** The least worth that is chosen, in the quote asset; 0 for any. */
    get least() {
      return leastOf(settings.get(LEAST)) ?? 0;
    },
    /** @param {Instrument | null} instrument */
    paint(instrument) {
      setText(unit, instrument?.quote_asset ?? "");
      if (document.activeElement !== least) least.value = settings.get(LEAST);
      const chosen = settings.get(SPAN) || String(SPAN_MS / 1000);
      if (span.value !== chosen) span.value = chosen;
    },
    /**
     * @param {number} shown
     * @param {number} kept
     */
    paintCount(shown, kept) {
      setText(count, shown === kept ? "" : `${fixed(shown, 0)} of ${fixed(kept, 0)}`);
    },
    focus: () => least.focus(),
  };
}
