// The page's session with its server, which begins with the server's token where it has one. The server of the page
// itself sets a cookie, which no script can read; a server of another origin gets the token with each request.

import { ApiError, getJson } from "./api.js";

/** @import {Fetch} from "./api.js" */
/** @import {Platform as FetchPlatform} from "./fetcher.js" */
/** @import {SessionReport} from "./types.js" */

export const FEED_PROTOCOL = "pulse.v1";
const TOKEN_PROTOCOL = "pulse.token.";
const UNAUTHORIZED = 401;
const STORED = "pulse.token"; // in the tab's own storage, which ends with it

/** `isNeeded`: the server wants a token; `reason` is why the last one was refused, `canLogOut` whether one was taken.
 * @typedef {{isNeeded: boolean, isSending: boolean, canLogOut: boolean, reason: string}} SessionStatus
 */

/** What the session needs of its platform; tests replace it.
 * @typedef {object} Platform
 * @property {Fetch} fetch
 * @property {typeof WebSocket} WebSocket
 * @property {Pick<Storage, "getItem" | "setItem" | "removeItem">} storage
 * @property {() => void} reload
 */

/** The page's session with its server. */
export class Session {
  #url;
  #isOwnServer;
  #token = "";
  /** @type {Platform} */
  #platform;
  #onChange;
  #onOpen;

  /**
   * @param {{http: (path: string) => string}} server
   * @param {string} pageUrl
   * @param {object} options
   * @param {() => void} options.onChange after each change of `status`
   * @param {() => void} options.onOpen when a token has been taken: what was refused may be asked for again
   * @param {Partial<Platform>} [options.platform]
   */
  constructor(server, pageUrl, { onChange, onOpen, platform = {} }) {
    this.#url = server.http("api/session");
    this.#isOwnServer = new URL(this.#url).origin === new URL(pageUrl).origin;
    this.#platform = { ...browserPlatform(), ...platform };
    this.#onChange = onChange;
    this.#onOpen = onOpen;
    if (!this.#isOwnServer) this.#token = this.#platform.storage.getItem(STORED) ?? "";
    /** @type {SessionStatus} */
    this.status = { isNeeded: false, isSending: false, canLogOut: this.#token !== "", reason: "" };
  }

  /** What requests and the feed are made with: they carry the token where no cookie does, and report a refusal.
   * @returns {Pick<FetchPlatform, "getJson"> & {WebSocket: new (url: string) => WebSocket}}
   */
  get platform() {
    const protocols = () => this.#protocols();
    const check = () => this.check();
    return {
      getJson: (url, options) => this.#getJson(url, options),
      WebSocket: class extends this.#platform.WebSocket {
        /** @param {string} url */
        constructor(url) {
          super(url, protocols());
          // A browser does not say why a handshake was refused, so the server is asked.
          this.addEventListener("close", check);
          this.addEventListener("open", () => this.removeEventListener("close", check));
        }
      },
    };
  }

  /** Ask the server who the page is; a server that cannot be reached is the business of what asks for data. */
  async check() {
    try {
      this.#learn(await this.#getJson(this.#url, {}));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /**
   * Begin a session with a token that the user has entered.
   * @param {string} token
   */
  async logIn(token) {
    this.#change({ isSending: true, reason: "" });
    try {
      await (this.#isOwnServer ? this.#post(token) : this.#keep(token));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#change({ isSending: false, reason: error.message });
      return;
    }
    this.#change({ isNeeded: false, isSending: false, canLogOut: true, reason: "" });
    this.#onOpen();
  }

  /** End the session, and load the page anew: what it shows and its feed are not for everyone. */
  async logOut() {
    this.#platform.storage.removeItem(STORED);
    try {
      if (this.#isOwnServer) await this.#platform.fetch(this.#url, { method: "DELETE" });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      this.#change({ reason: "The server cannot be reached" });
      return;
    }
    this.#platform.reload();
  }

  /** @param {string} token */
  async #post(token) {
    const init = { method: "POST", body: JSON.stringify({ token }), headers: { "content-type": "application/json" } };
    await getJson(this.#url, { ...init, fetch: this.#platform.fetch });
  }

  /** @param {string} token */
  async #keep(token) {
    const { fetch } = this.#platform;
    const report = await getJson(this.#url, { headers: bearer(token), fetch });
    if (isRefused(report)) throw new ApiError("The server does not accept this token");
    this.#token = token;
    this.#platform.storage.setItem(STORED, token);
  }

  /**
   * @param {string} url
   * @param {{signal?: AbortSignal}} options
   */
  async #getJson(url, options) {
    try {
      const headers = this.#token === "" ? {} : bearer(this.#token);
      return await getJson(url, { ...options, headers, fetch: this.#platform.fetch });
    } catch (error) {
      if (error instanceof ApiError && error.status === UNAUTHORIZED) this.#change({ isNeeded: true });
      throw error;
    }
  }

  /** @param {unknown} report */
  #learn(report) {
    const { session } = /** @type {SessionReport} */ (report);
    this.#change({ isNeeded: isRefused(report), canLogOut: session || this.#token !== "" });
  }

  #protocols() {
    return this.#token === "" ? [] : [FEED_PROTOCOL, TOKEN_PROTOCOL + base64url(this.#token)];
  }

  /** @param {Partial<SessionStatus>} change */
  #change(change) {
    this.status = { ...this.status, ...change };
    this.#onChange();
  }
}

/** @param {unknown} report */
function isRefused(report) {
  return /** @type {SessionReport} */ (report).role === "anonymous";
}

/** @param {string} token */
function bearer(token) {
  return { authorization: `Bearer ${token}` };
}

/**
 * Return the text as a subprotocol can hold it. A token is ASCII; any other text becomes one that the server refuses.
 * @param {string} text
 */
function base64url(text) {
  const bytes = new TextEncoder().encode(text);
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/** @returns {Platform} */
function browserPlatform() {
  return {
    fetch: (url, init) => globalThis.fetch(url, init),
    WebSocket: globalThis.WebSocket,
    storage: tabStorage(),
    reload: () => globalThis.location.reload(),
  };
}

/** @returns {Platform["storage"]} */
function tabStorage() {
  try {
    return globalThis.sessionStorage;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    // The browser forbids storage: the token is kept until the page is loaded anew.
    return { getItem: () => null, setItem: () => {}, removeItem: () => {} };
  }
}
