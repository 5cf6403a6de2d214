// One WebSocket to the server, kept alive: backoff with jitter, "retry now", and a watchdog for a line that is open
// but mute. It hands over parsed messages and says how it stands; it knows no page and nothing of markets.

import { retryDelay } from "./backoff.js";

export const SILENCE_RECONNECT_MS = 10_000; // ten missed heartbeats: the line is dead, whatever the socket says
export const WATCH_MS = 1_000;

/**
 * `onMessage(message)` per message, `onOpen()` whenever the line opens, `onChange()` per change of `status`.
 * `status.phase` is "idle", "connecting", "open" or "waiting"; `attempt` counts failures since a message last came;
 * `retryAtMs` is when waiting ends.
 */
export class Connection {
  #socket = null;
  #url = "";
  #retryTimer = null;
  #watchTimer = null;
  #means;

  constructor({ onMessage, onOpen, onChange, ...means }) {
    this.onMessage = onMessage;
    this.onOpen = onOpen;
    this.onChange = onChange;
    this.#means = { ...browserMeans(), ...means };
    this.status = { phase: "idle", attempt: 0, retryAtMs: 0, openedAtMs: 0, lastMessageAtMs: 0, reason: "" };
  }

  /** Connects to `url`, leaving whatever was connected before. */
  open(url) {
    this.#url = url;
    this.#watchTimer ??= this.#means.setInterval(() => this.check(), WATCH_MS);
    this.#say({ attempt: 0, openedAtMs: 0, reason: "" });
    this.#connect();
  }

  /** Stops waiting and tries at once. Does nothing while connected. */
  retryNow() {
    if (this.status.phase === "waiting") this.#connect();
  }

  /** Looks at the clock: a due retry or a line silent for too long is acted upon. Also worth calling after sleep. */
  check() {
    const { phase, lastMessageAtMs, retryAtMs } = this.status;
    const nowMs = this.#means.now();
    if (phase === "waiting" && nowMs >= retryAtMs) this.#connect();
    if (phase !== "open" && phase !== "connecting") return;
    const silenceMs = nowMs - lastMessageAtMs;
    if (silenceMs > SILENCE_RECONNECT_MS) this.#lost(`no word from the server for ${Math.floor(silenceMs / 1000)} s`);
  }

  /** Says something to the server; a line that is not open does not say it later. */
  send(words) {
    if (this.status.phase === "open") this.#socket.send(JSON.stringify(words));
  }

  /** Leaves for good. */
  close() {
    this.#drop();
    this.#means.clearInterval(this.#watchTimer);
    this.#watchTimer = null;
    this.#say({ phase: "idle" });
  }

  #connect() {
    this.#drop();
    const socket = new this.#means.WebSocket(this.#url);
    this.#socket = socket;
    // A socket that was left behind may still deliver: only the present one is listened to.
    const ifPresent = (act) => (event) => this.#socket === socket && act(event);
    socket.onopen = ifPresent(() => this.#opened());
    socket.onmessage = ifPresent((event) => this.#received(event.data));
    socket.onclose = ifPresent((event) => this.#lost(closeWords(event)));
    this.#say({ phase: "connecting", lastMessageAtMs: this.#means.now() });
  }

  #opened() {
    const nowMs = this.#means.now();
    this.#say({ phase: "open", openedAtMs: nowMs, lastMessageAtMs: nowMs });
    this.onOpen();
  }

  #received(data) {
    const message = parsed(data);
    if (message === null) return; // not counted as a word: a line that speaks only nonsense is replaced
    const recovered = this.status.attempt > 0;
    this.status.lastMessageAtMs = this.#means.now();
    if (recovered) this.#say({ attempt: 0, reason: "" });
    this.onMessage(message);
  }

  #lost(reason) {
    this.#drop();
    const { attempt } = this.status;
    const waitMs = retryDelay(attempt, this.#means.random);
    this.#retryTimer = this.#means.setTimeout(() => this.retryNow(), waitMs);
    this.#say({ phase: "waiting", attempt: attempt + 1, retryAtMs: this.#means.now() + waitMs, reason });
  }

  #drop() {
    this.#means.clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #say(change) {
    Object.assign(this.status, change);
    this.onChange();
  }
}

// Wall-clock time, because a monotonic clock stands still while a laptop sleeps and would call old prices fresh.
function browserMeans() {
  return {
    WebSocket: globalThis.WebSocket,
    now: () => Date.now(),
    random: () => Math.random(),
    setTimeout: (act, ms) => setTimeout(act, ms),
    clearTimeout: (timer) => clearTimeout(timer),
    setInterval: (act, ms) => setInterval(act, ms),
    clearInterval: (timer) => clearInterval(timer),
  };
}

function parsed(data) {
  try {
    const message = JSON.parse(data);
    return typeof (message?.topic ?? message?.op) === "string" ? message : null;
  } catch (trouble) {
    if (trouble instanceof SyntaxError) return null;
    throw trouble;
  }
}

function closeWords({ code, reason }) {
  if (reason) return reason;
  if (code === 1001) return "the server is going away";
  return code === 1006 ? "the line broke" : `the server closed the line (code ${code})`;
}
