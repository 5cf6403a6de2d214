// One resource of the API, requested until it arrives: a deadline per attempt, backoff between attempts, and a newer
// request replaces an older one. What is fetched and where it is shown is the caller's business.

import { ApiError, getJson, REQUEST_MS_MAX } from "./api.js";
import { retryDelay } from "./backoff.js";

/** `reason` is why the last attempt failed, `retryAtMs` when the next one starts.
 * @typedef {{phase: "idle" | "loading" | "ready" | "waiting", reason: string, retryAtMs: number}} FetchStatus
 */

/** What the fetcher needs of its platform; tests replace it.
 * @typedef {object} Platform
 * @property {(url: string, options: {signal: AbortSignal}) => Promise<unknown>} getJson
 * @property {() => number} now
 * @property {() => number} random
 * @property {(act: () => void, ms: number) => unknown} setTimeout
 * @property {(timer: unknown) => void} clearTimeout
 */

/**
 * A resource of the API; `Body` is the type of its answer, `Subject` that of what it was requested for.
 * @template Body
 * @template [Subject=void]
 */
export class Fetcher {
  /** The only request whose outcome counts.
   * @type {{url: string, subject: Subject, controller: AbortController} | null}
   */
  #request = null;
  #attempt = 0;
  /** @type {unknown} */
  #timer = null;
  /** @type {Platform} */
  #platform;
  #onData;
  #onChange;

  /**
   * @param {object} options
   * @param {(body: Body, subject: Subject) => void} options.onData once per successful `load`
   * @param {() => void} options.onChange after each change of `status`
   * @param {Partial<Platform>} [options.platform]
   */
  constructor({ onData, onChange, platform = {} }) {
    this.#onData = onData;
    this.#onChange = onChange;
    this.#platform = { ...browserPlatform(), ...platform };
    /** @type {FetchStatus} */
    this.status = { phase: "idle", reason: "", retryAtMs: 0 };
  }

  /**
   * Fetch `url`; `subject` comes back with the data. A request in progress is aborted.
   * @param {string} url
   * @param {Subject} subject
   */
  load(url, subject) {
    this.#attempt = 0;
    this.#start(url, subject);
  }

  /** End the wait and try at once; does nothing while not waiting. */
  retryNow() {
    if (this.status.phase === "waiting" && this.#request !== null)
      this.#start(this.#request.url, this.#request.subject);
  }

  /** Abort the request in progress and stop retrying. */
  stop() {
    this.#platform.clearTimeout(this.#timer);
    this.#request?.controller.abort();
    this.#request = null;
    this.#change({ phase: "idle", reason: "" });
  }

  /**
   * @param {string} url
   * @param {Subject} subject
   */
  async #start(url, subject) {
    this.#platform.clearTimeout(this.#timer);
    this.#request?.controller.abort();
    const request = { url, subject, controller: new AbortController() };
    this.#request = request;
    const late = new ApiError(`The server did not answer within ${REQUEST_MS_MAX / 1000} s`);
    this.#timer = this.#platform.setTimeout(() => request.controller.abort(late), REQUEST_MS_MAX);
    this.#change({ phase: "loading" });
    try {
      const body = await this.#platform.getJson(url, { signal: request.controller.signal });
      if (this.#request === request) this.#succeeded(/** @type {Body} */ (body), subject);
    } catch (error) {
      if (this.#request !== request) return; // it was replaced: its failure no longer matters
      if (!(error instanceof ApiError)) throw error;
      this.#failed(error.message);
    }
  }

  /**
   * @param {Body} body
   * @param {Subject} subject
   */
  #succeeded(body, subject) {
    this.#platform.clearTimeout(this.#timer);
    this.#attempt = 0;
    this.#change({ phase: "ready", reason: "" });
    this.#onData(body, subject);
  }

  /** @param {string} reason */
  #failed(reason) {
    this.#platform.clearTimeout(this.#timer);
    const waitMs = retryDelay(this.#attempt, this.#platform.random);
    this.#attempt += 1;
    this.#timer = this.#platform.setTimeout(() => this.retryNow(), waitMs);
    this.#change({ phase: "waiting", reason, retryAtMs: this.#platform.now() + waitMs });
  }

  /** @param {Partial<FetchStatus>} change */
  #change(change) {
    this.status = { ...this.status, ...change };
    this.#onChange();
  }
}

/** @returns {Platform} */
function browserPlatform() {
  return {
    getJson,
    now: () => Date.now(),
    random: () => Math.random(),
    setTimeout: (act, ms) => setTimeout(act, ms),
    clearTimeout: (timer) => clearTimeout(/** @type {number | undefined} */ (timer)),
  };
}
