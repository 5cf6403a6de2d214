// Keyboard shortcuts: a pure function from a key press to a command. It executes nothing and knows no panel.

const TYPED_INTO = "input, select, textarea, [contenteditable]";
// What a focused control does with a key itself, while the user works with the keyboard. A control that was clicked
// keeps the focus too, but whoever presses the space bar then means the page.
const OWN_KEYS = "a, button, input, select, textarea, summary, dialog, [contenteditable]";

/**
 * A command; `at` is an index into the symbols, `by` a step through them.
 * @typedef {{name: "symbol", at: number} | {name: "step", by: number} |
 *   {name: "find" | "filter" | "proof" | "help" | "pause" | "layouts" | "maximise"}} Command
 */

/**
 * Return the command of a `keydown` event; null when the key belongs to the browser or to the focused control.
 * `isByPointer` says that the focus came by a click or a tap.
 * @param {{key: string, ctrlKey?: boolean, metaKey?: boolean, altKey?: boolean, target?: EventTarget | null}} event
 * @returns {Command | null}
 */
export function command({ key, ctrlKey, metaKey, altKey, target }, isByPointer = false) {
  if (ctrlKey || metaKey || altKey || isWithin(target, TYPED_INTO)) return null;
  if (/^[1-9]$/.test(key)) return { name: "symbol", at: Number(key) - 1 };
  if (key === "[") return { name: "step", by: -1 };
  if (key === "]") return { name: "step", by: 1 };
  if (key === "/") return { name: "find" };
  if (key === "t") return { name: "filter" };
  if (key === "p") return { name: "proof" };
  if (key === "f") return { name: "maximise" };
  if (key === "l") return { name: "layouts" };
  if (key === "?") return { name: "help" };
  return key === " " && (isByPointer || !isWithin(target, OWN_KEYS)) ? { name: "pause" } : null;
}

/**
 * Return what a `keydown` event does to the order book; null for any other key.
 * @param {{key: string, ctrlKey?: boolean, metaKey?: boolean, altKey?: boolean, target?: EventTarget | null}} event
 * @returns {"finer" | "coarser" | "unit" | null}
 */
export function bookCommand({ key, ctrlKey, metaKey, altKey, target }) {
  if (ctrlKey || metaKey || altKey || isWithin(target, TYPED_INTO)) return null;
  if (key === "-") return "finer";
  if (key === "+") return "coarser";
  return key === "u" ? "unit" : null;
}

/**
 * @param {EventTarget | null | undefined} target
 * @param {string} selector
 */
function isWithin(target, selector) {
  const node = /** @type {Partial<Element> | null | undefined} */ (target); // the document has no `closest`
  return Boolean(node?.closest?.(selector));
}

/**
 * Return the symbol `by` places further, wrapping around; "" when there are no symbols.
 * @param {{symbol: string}[]} symbols
 * @param {string} selected
 * @param {number} by
 */
export function neighbour(symbols, selected, by) {
  const at = symbols.findIndex(({ symbol }) => symbol === selected);
  return symbols.length === 0 ? "" : symbols[(at + by + symbols.length) % symbols.length].symbol;
}
