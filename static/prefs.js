// What the reader chose last time. A browser may forbid storage altogether; then a choice simply lasts as long as the
// address.

const KEYS = { symbol: "pulse.symbol", interval: "pulse.interval" };

/** The choice of this `name`, null if none is known. */
export function remembered(name) {
  try {
    return window.localStorage.getItem(KEYS[name]);
  } catch (trouble) {
    if (trouble instanceof DOMException) return null;
    throw trouble;
  }
}

/** Keeps a choice for next time. */
export function remember(name, value) {
  try {
    window.localStorage.setItem(KEYS[name], value);
  } catch (trouble) {
    if (!(trouble instanceof DOMException)) throw trouble;
  }
}
