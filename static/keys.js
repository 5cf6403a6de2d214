// Which key means what, as one pure function from a key press to a command. It does nothing itself and knows no panel.

const TYPED_INTO = "input, select, textarea, [contenteditable]";
const OWN_KEYS = "a, button, input, select, textarea, summary, dialog, [contenteditable]";

/** `{name, ...}` of the command a `keydown` event asks for, or null when the key is not ours to take. */
export function command({ key, ctrlKey, metaKey, altKey, target }) {
  if (ctrlKey || metaKey || altKey || target?.closest?.(TYPED_INTO)) return null;
  if (/^[1-9]$/.test(key)) return { name: "symbol", at: Number(key) - 1 };
  if (key === "[") return { name: "step", by: -1 };
  if (key === "]") return { name: "step", by: 1 };
  if (key === "/") return { name: "find" };
  if (key === "p") return { name: "proof" };
  if (key === "?") return { name: "help" };
  // A focused control has its own use for the space bar.
  return key === " " && !target?.closest?.(OWN_KEYS) ? { name: "pause" } : null;
}

/** The symbol `by` places further, going round. */
export function neighbour(symbols, selected, by) {
  const at = symbols.findIndex(({ symbol }) => symbol === selected);
  return symbols.length === 0 ? "" : symbols[(at + by + symbols.length) % symbols.length].symbol;
}
