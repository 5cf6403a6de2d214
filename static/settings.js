// The user's choices in one place: read from the page's address, else from the browser's storage, and written to both,
// so that a reload, a bookmark and a link show the same. The address is `#SYMBOL&name=value&...`.

import { ReactiveMap } from "./signals.js";

const PREFIX = "pulse."; // of choices that are in the address too
const OWN_PREFIX = "pulse.own."; // of those that are the user's alone
const SYMBOL = "symbol"; // the last one that was selected; the address begins with it
const VALUE_CHARACTERS_MAX = 2_000;
const SETTINGS_MAX = 50; // of an address; what follows is ignored
const NAME = /^[a-z][\w.-]{0,60}$/i;

/** What settings need of their platform; tests replace it. `setHash` replaces the address without a new history entry.
 * @typedef {object} Platform
 * @property {Pick<Storage, "getItem" | "setItem" | "removeItem">} storage
 * @property {() => string} hash
 * @property {(hash: string) => void} setHash
 */

/** The user's choices by name; each is a text, "" where the user has made none. */
export class Settings {
  /** @type {ReactiveMap<string>} */
  #values = new ReactiveMap();
  #shared = new Set();
  #symbol = "";
  #platform;

  /** @param {Platform} [platform] */
  constructor(platform = browserPlatform()) {
    this.#platform = platform;
    this.readAddress();
  }

  /** The symbol that the address named when it was last read, in capitals; "" for none. */
  get symbol() {
    return this.#symbol;
  }

  /** Take over what the address says, for example because the user has changed it. */
  readAddress() {
    const { symbol, values } = parsedHash(this.#platform.hash());
    this.#symbol = symbol;
    for (const [name, value] of values) {
      this.#shared.add(name);
      this.#values.set(name, value);
    }
  }

  /**
   * Return a choice; a panel that reads it while painting is painted again when it changes.
   * @param {string} name
   */
  get(name) {
    const known = this.#values.get(name);
    if (known !== undefined) return known;
    const { storage } = this.#platform;
    const shared = storage.getItem(PREFIX + name);
    const value = shared ?? storage.getItem(OWN_PREFIX + name) ?? "";
    if (shared !== null && name !== SYMBOL) this.#shared.add(name);
    return value;
  }

  /**
   * Keep a choice for the next visit, and in the address unless it is the user's alone; "" takes it back.
   * @param {string} name
   * @param {string} value
   * @param {{isShared?: boolean}} options
   */
  set(name, value, { isShared = true } = {}) {
    if (!NAME.test(name)) throw new Error(`expected a setting's name, got ${name}`);
    this.#values.set(name, value);
    const key = (isShared ? PREFIX : OWN_PREFIX) + name;
    if (value === "") this.#platform.storage.removeItem(key);
    else this.#platform.storage.setItem(key, value);
    if (!isShared) return;
    this.#shared.add(name);
    this.#writeAddress();
  }

  /**
   * Name this symbol in the address, and keep it for the next visit.
   * @param {string} symbol
   */
  setSymbol(symbol) {
    this.#symbol = symbol;
    this.#platform.storage.setItem(PREFIX + SYMBOL, symbol);
    this.#writeAddress();
  }

  #writeAddress() {
    const pairs = [...this.#shared].sort().map((name) => [name, this.get(name)]);
    const texts = pairs.filter(([, value]) => value !== "").map(([name, value]) => `&${name}=${encoded(value)}`);
    this.#platform.setHash(`#${encoded(this.#symbol)}${texts.join("")}`);
  }
}

/**
 * Return the symbol that an address's fragment names, in capitals, and the choices in it.
 * @param {string} hash such as #btcusdt&interval=5m, or empty
 */
export function parsedHash(hash) {
  const [symbol, ...parts] = hash.slice(1).split("&", SETTINGS_MAX);
  /** @type {Map<string, string>} */
  const values = new Map();
  for (const part of parts) {
    const [name, ...rest] = part.split("=");
    const value = decoded(rest.join("="));
    if (NAME.test(name) && value.length <= VALUE_CHARACTERS_MAX) values.set(name, value);
  }
  return { symbol: decoded(symbol).toUpperCase(), values };
}

/**
 * Encode a text for an address's fragment, but for the characters that are allowed there and separate nothing.
 * @param {string} text
 */
function encoded(text) {
  return encodeURIComponent(text).replace(/%(2C|2F|3A|40|2B)/g, decodeURIComponent);
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return text; // a % that encodes nothing
  }
}

/** @returns {Platform} */
function browserPlatform() {
  return {
    storage: localStorageOrNone(),
    hash: () => window.location.hash,
    setHash: (hash) => window.history.replaceState(null, "", hash),
  };
}

/** Storage that keeps nothing where the browser forbids it, and what does not fit.
 * @returns {Platform["storage"]}
 */
function localStorageOrNone() {
  return {
    getItem: (key) => attempt(() => window.localStorage.getItem(key)) ?? null,
    setItem: (key, value) => attempt(() => window.localStorage.setItem(key, value)),
    removeItem: (key) => attempt(() => window.localStorage.removeItem(key)),
  };
}

/**
 * @template Result
 * @param {() => Result} act
 * @returns {Result | undefined}
 */
function attempt(act) {
  try {
    return act();
  } catch (error) {
    if (error instanceof DOMException) return undefined;
    throw error;
  }
}
