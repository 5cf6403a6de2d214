// The user's last choices, kept in the browser's local storage. Where the browser forbids storage they are not kept.

const KEYS = { symbol: "pulse.symbol", interval: "pulse.interval" };

/**
 * Read a stored choice; null when there is none.
 * @param {keyof typeof KEYS} name
 * @returns {string | null}
 */
export function loadPref(name) {
  try {
    return window.localStorage.getItem(KEYS[name]);
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  }
}

/**
 * Store a choice for the next visit.
 * @param {keyof typeof KEYS} name
 * @param {string} value
 */
export function savePref(name, value) {
  try {
    window.localStorage.setItem(KEYS[name], value);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}
