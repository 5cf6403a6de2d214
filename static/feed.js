// The feed of one symbol: subscribes on a line that keeps itself alive, and makes whole pictures of what the topics
// say. It needs no page: a bot under Node may use it as it is.

import { Connection } from "./connection.js";

export const ECHO_MS = 20_000; // how often a shown picture is echoed: the server then knows how old it was by then
export const KINDS = ["status", "proof", "kline", "metrics", "trades", "book"]; // the server sends in this order

/** The topics of a symbol, the book last: what came before it is of the same picture or has not changed since. */
export function topicsOf(symbol) {
  return KINDS.map((kind) => `${kind}.${symbol}${kind === "kline" ? ".1m" : ""}`);
}

/**
 * `onPicture(picture)` per picture, with the trades since the one before it; `onChange()` per change of `status`, which
 * is the connection's; `onRefused(detail)` when the server does not take a request.
 */
export class Feed {
  #connection;
  #symbol = "";
  #parts = {};
  #trades = [];
  #nextId = null; // the first trade not seen yet
  #echoedAtMs = 0;

  constructor({ onPicture, onChange, onRefused = () => {}, ...means }) {
    this.onPicture = onPicture;
    this.onRefused = onRefused;
    this.#connection = new Connection({
      onMessage: (message) => this.#received(message),
      onOpen: () => this.#subscribe(),
      onChange,
      ...means,
    });
  }

  get status() {
    return this.#connection.status;
  }

  /** Follows `symbol` on the socket at `url`, leaving whatever was followed before. */
  follow(url, symbol) {
    this.#symbol = symbol;
    this.#nextId = null;
    this.#connection.open(url);
  }

  /** Tells the server that this picture is on the screen at `nowMs`, now and then. */
  shown({ instance, timestamp }, nowMs) {
    if (nowMs - this.#echoedAtMs < ECHO_MS) return;
    this.#echoedAtMs = nowMs;
    this.#connection.send({ op: "echo", instance, timestamp });
  }

  /** Stops waiting and tries at once. */
  retryNow() {
    this.#connection.retryNow();
  }

  /** Looks at the clock; worth calling after sleep. */
  check() {
    this.#connection.check();
  }

  /** Leaves for good. */
  close() {
    this.#connection.close();
  }

  #subscribe() {
    // Only an exchange never repeats its ids with other contents: a simulation that began again does.
    const resumes = this.#nextId !== null && this.#parts.status?.source === "exchange";
    this.#parts = {};
    this.#trades = [];
    this.#ask(topicsOf(this.#symbol), resumes ? { from_id: this.#nextId } : {});
  }

  #ask(topics, options = {}) {
    this.#connection.send({ op: "subscribe", topics, ...options });
  }

  #received(message) {
    if (message.op === "error") this.#refused(message);
    if (message.topic === undefined) return;
    const kind = message.topic.split(".", 1)[0];
    if (kind === "trades") this.#keep(message);
    else this.#parts[kind] = message;
    if (kind === "book") this.#show();
  }

  #refused({ parameter, detail }) {
    if (parameter === "from_id")
      this.#ask(topicsOf(this.#symbol)); // this server has other trades
    else this.onRefused(detail);
  }

  #keep({ trades, last_id: lastId }) {
    this.#trades = [...trades, ...this.#trades];
    this.#nextId = lastId + 1;
  }

  #show() {
    const { status, proof, kline, metrics, book } = this.#parts;
    if (!status || !proof || !kline || !metrics) return;
    const trades = this.#trades.sort((left, right) => right.id - left.id);
    this.#trades = [];
    this.onPicture({ ...status, ...proof, ...kline, ...metrics, ...book, trades });
  }
}
