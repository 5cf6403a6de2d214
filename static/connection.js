// One WebSocket to the server, kept open: reconnects with backoff and jitter, and replaces a connection that is open
// but silent. It delivers parsed messages and reports its status; it knows no page and nothing of markets.

import { retryDelay } from "./backoff.js";

/** @import {FeedMessage, FeedRequest} from "./types.js" */

export const SILENCE_RECONNECT_MS = 10_000; // ten missed heartbeats: the connection is dead, whatever the socket says
export const WATCH_MS = 1_000;

/**
 * `attempt` counts failures since the last message; `retryAtMs` is when waiting ends.
 * @typedef {object} ConnectionStatus
 * @property {"idle" | "connecting" | "open" | "waiting"} phase
 * @property {number} attempt
 * @property {number} retryAtMs
 * @property {number} openedAtMs
 * @property {number} lastMessageAtMs
 * @property {string} reason why the connection was lost, "" when nothing went wrong
 */

/** The part of a WebSocket that is used.
 * @typedef {object} Socket
 * @property {((event: Event) => unknown) | null} onopen
 * @property {((event: MessageEvent) => unknown) | null} onmessage
 * @property {((event: CloseEvent) => unknown) | null} onclose
 * @property {(text: string) => void} send
 * @property {() => void} close
 */

/** What the connection needs of its platform; tests replace it.
 * @typedef {object} Platform
 * @property {new (url: string) => Socket} WebSocket
 * @property {() => number} now
 * @property {() => number} random
 * @property {(act: () => void, ms: number) => unknown} setTimeout
 * @property {(timer: unknown) => void} clearTimeout
 * @property {(act: () => void, ms: number) => unknown} setInterval
 * @property {(timer: unknown) => void} clearInterval
 */

/** A WebSocket that reconnects until it is closed. */
export class Connection {
  /** @type {Socket | null} */
  #socket = null;
  #url = "";
  /** @type {unknown} */
  #retryTimer = null;
  /** @type {unknown} */
  #watchTimer = null;
  /** @type {Platform} */
  #platform;
  #onMessage;
  #onOpen;
  #onChange;

  /**
   * @param {object} options
   * @param {(message: FeedMessage) => void} options.onMessage for each message
   * @param {() => void} options.onOpen each time the connection opens
   * @param {() => void} options.onChange after each change of `status`
   * @param {Partial<Platform>} [options.platform]
   */
  constructor({ onMessage, onOpen, onChange, platform = {} }) {
    this.#onMessage = onMessage;
    this.#onOpen = onOpen;
    this.#onChange = onChange;
    this.#platform = { ...browserPlatform(), ...platform };
    /** @type {ConnectionStatus} */
    this.status = { phase: "idle", attempt: 0, retryAtMs: 0, openedAtMs: 0, lastMessageAtMs: 0, reason: "" };
  }

  /**
   * Connect to `url`, closing any other connection.
   * @param {string} url
   */
  open(url) {
    this.#url = url;
    this.#watchTimer ??= this.#platform.setInterval(() => this.check(), WATCH_MS);
    this.#change({ attempt: 0, openedAtMs: 0, reason: "" });
    this.#connect();
  }

  /** End the wait and reconnect at once; does nothing while not waiting. */
  retryNow() {
    if (this.status.phase === "waiting") this.#connect();
  }

  /** Compare with the clock: start a due retry, replace a silent connection. Call it also after the device slept. */
  check() {
    const { phase, lastMessageAtMs, retryAtMs } = this.status;
    const nowMs = this.#platform.now();
    if (phase === "waiting" && nowMs >= retryAtMs) this.#connect();
    if (phase !== "open" && phase !== "connecting") return;
    const silenceMs = nowMs - lastMessageAtMs;
    if (silenceMs > SILENCE_RECONNECT_MS)
      this.#lost(`no message from the server for ${Math.floor(silenceMs / 1000)} s`);
  }

  /**
   * Send a request; while the connection is not open it is dropped.
   * @param {FeedRequest} request
   */
  send(request) {
    if (this.status.phase === "open") this.#socket?.send(JSON.stringify(request));
  }

  /** Disconnect and stay disconnected. */
  close() {
    this.#drop();
    this.#platform.clearInterval(this.#watchTimer);
    this.#watchTimer = null;
    this.#change({ phase: "idle" });
  }

  #connect() {
    this.#drop();
    const socket = new this.#platform.WebSocket(this.#url);
    this.#socket = socket;
    // A replaced socket may still deliver events: only the current one counts.
    socket.onopen = () => {
      if (this.#socket === socket) this.#opened();
    };
    socket.onmessage = (event) => {
      if (this.#socket === socket) this.#received(event.data);
    };
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#lost(closeText(event));
    };
    this.#change({ phase: "connecting", lastMessageAtMs: this.#platform.now() });
  }

  #opened() {
    const nowMs = this.#platform.now();
    this.#change({ phase: "open", openedAtMs: nowMs, lastMessageAtMs: nowMs });
    this.#onOpen();
  }

  /** @param {string} data */
  #received(data) {
    const message = parsed(data);
    if (message === null) return; // not counted as a sign of life: a connection that sends only garbage is replaced
    const recovered = this.status.attempt > 0;
    this.status.lastMessageAtMs = this.#platform.now();
    if (recovered) this.#change({ attempt: 0, reason: "" });
    this.#onMessage(message);
  }

  /** @param {string} reason */
  #lost(reason) {
    this.#drop();
    const { attempt } = this.status;
    const waitMs = retryDelay(attempt, this.#platform.random);
    this.#retryTimer = this.#platform.setTimeout(() => this.retryNow(), waitMs);
    this.#change({ phase: "waiting", attempt: attempt + 1, retryAtMs: this.#platform.now() + waitMs, reason });
  }

  #drop() {
    this.#platform.clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** @param {Partial<ConnectionStatus>} change */
  #change(change) {
    Object.assign(this.status, change);
    this.#onChange();
  }
}

/**
 * Wall-clock time, because a monotonic clock stops while a laptop sleeps and would call old prices fresh.
 * @returns {Platform}
 */
export function browserPlatform() {
  return {
    WebSocket: globalThis.WebSocket,
    now: () => Date.now(),
    random: () => Math.random(),
    setTimeout: (act, ms) => setTimeout(act, ms),
    clearTimeout: (timer) => clearTimeout(/** @type {number | undefined} */ (timer)),
    setInterval: (act, ms) => setInterval(act, ms),
    clearInterval: (timer) => clearInterval(/** @type {number | undefined} */ (timer)),
  };
}

/**
 * @param {string} data
 * @returns {FeedMessage | null}
 */
function parsed(data) {
  try {
    const message = JSON.parse(data);
    return typeof (message?.topic ?? message?.op) === "string" ? message : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** @param {{code: number, reason: string}} event */
function closeText({ code, reason }) {
  if (reason) return reason;
  if (code === 1001) return "the server is shutting down";
  return code === 1006 ? "the connection was lost" : `the server closed the connection (code ${code})`;
}
