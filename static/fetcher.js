// One thing from the API, asked for until it comes: a deadline per try, backoff between tries, and a newer request
// replaces an older one. It says how it stands in words; what it fetches and where to show it is others' business.

import { ApiTrouble, getJson, REQUEST_MS_MAX } from "./api.js";
import { retryDelay } from "./backoff.js";

/**
 * `onData(body, subject)` once per successful `load`, `onChange()` per change of `status`. `status.phase` is
 * "idle", "loading", "ready" or "waiting"; `reason` is why the last try failed, `retryAtMs` when the next one starts.
 */
export class Fetcher {
  #request = null; // {url, subject, controller}: the only request whose outcome still counts
  #attempt = 0;
  #timer = null;
  #means;

  constructor({ onData, onChange, ...means }) {
    this.onData = onData;
    this.onChange = onChange;
    this.#means = { ...browserMeans(), ...means };
    this.status = { phase: "idle", reason: "", retryAtMs: 0 };
  }

  /** Fetches `url`; `subject` comes back with the data. Whatever was under way before no longer counts. */
  load(url, subject = null) {
    this.#attempt = 0;
    this.#try(url, subject);
  }

  /** Stops waiting and tries at once. */
  retryNow() {
    if (this.status.phase === "waiting") this.#try(this.#request.url, this.#request.subject);
  }

  /** Asks no more; what was under way no longer counts. */
  stop() {
    this.#means.clearTimeout(this.#timer);
    this.#request?.controller.abort();
    this.#request = null;
    this.#say({ phase: "idle", reason: "" });
  }

  async #try(url, subject) {
    this.#means.clearTimeout(this.#timer);
    this.#request?.controller.abort();
    const request = { url, subject, controller: new AbortController() };
    this.#request = request;
    const late = new ApiTrouble("The server took too long");
    this.#timer = this.#means.setTimeout(() => request.controller.abort(late), REQUEST_MS_MAX);
    this.#say({ phase: "loading" });
    try {
      const body = await this.#means.getJson(url, { signal: request.controller.signal });
      if (this.#request === request) this.#arrived(body, subject);
    } catch (trouble) {
      if (this.#request !== request) return; // replaced meanwhile: its end is no news
      if (!(trouble instanceof ApiTrouble)) throw trouble;
      this.#failed(trouble.message);
    }
  }

  #arrived(body, subject) {
    this.#means.clearTimeout(this.#timer);
    this.#attempt = 0;
    this.#say({ phase: "ready", reason: "" });
    this.onData(body, subject);
  }

  #failed(reason) {
    this.#means.clearTimeout(this.#timer);
    const waitMs = retryDelay(this.#attempt, this.#means.random);
    this.#attempt += 1;
    this.#timer = this.#means.setTimeout(() => this.retryNow(), waitMs);
    this.#say({ phase: "waiting", reason, retryAtMs: this.#means.now() + waitMs });
  }

  #say(change) {
    this.status = { ...this.status, ...change };
    this.onChange();
  }
}

function browserMeans() {
  return {
    getJson,
    now: () => Date.now(),
    random: () => Math.random(),
    setTimeout: (act, ms) => setTimeout(act, ms),
    clearTimeout: (timer) => clearTimeout(timer),
  };
}
