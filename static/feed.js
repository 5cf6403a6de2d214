// The feed of one symbol: subscribes to its topics over a connection that reconnects by itself, and assembles complete
// views from their messages. It needs no page: a bot under Node may use it as it is.

import { browserPlatform, Connection } from "./connection.js";
import { newestFirst } from "./trade_list.js";

/** @import {Platform} from "./connection.js" */
/** @import {ErrorMessage, FeedMessage, TopicKind, TopicMessage} from "./types.js" */
/** @import {Rate, TradePlace, Topics, Trade, TradesMessage, View} from "./types.js" */

export const ECHO_MS = 20_000; // how often a painted view is reported, so that the server can measure its age

/** In the order in which the server sends them.
 * @type {TopicKind[]}
 */
export const KINDS = ["status", "proof", "kline", "metrics", "trades", "book"];

/**
 * Return the topics of a symbol. The book is last: messages before it are of the same view, or have not changed.
 * @param {string} symbol
 */
export function topicsOf(symbol) {
  return KINDS.map((kind) => `${kind}.${symbol}${kind === "kline" ? ".1m" : ""}`);
}

/** The feed of one symbol at a time. */
export class Feed {
  #connection;
  #onView;
  #onRefused;
  #rate;
  #symbol = "";
  /** The newest message of each kind.
   * @type {Partial<Omit<Topics, "trades">>}
   */
  #parts = {};
  /** Trades since the last view.
   * @type {Trade[]}
   */
  #trades = [];
  /** The place after the last trade received.
   * @type {TradePlace | null}
   */
  #place = null;
  #echoedAtMs = 0;
  #platform;
  /** Of a subscription that was refused for now.
   * @type {unknown}
   */
  #retryTimer = null;

  /**
   * @param {object} options
   * @param {(view: View) => void} options.onView for each view, with the trades since the one before it
   * @param {() => void} options.onChange after each change of `status`
   * @param {(detail: string) => void} [options.onRefused] when the server refuses a subscription
   * @param {() => Rate} [options.rate] how often views come, asked at each subscription; no trade is left out
   * @param {Partial<Platform>} [options.platform]
   */
  constructor({ onView, onChange, onRefused = () => {}, rate = () => "full", platform }) {
    this.#onView = onView;
    this.#onRefused = onRefused;
    this.#rate = rate;
    this.#platform = { ...browserPlatform(), ...platform };
    this.#connection = new Connection({
      onMessage: (message) => this.#received(message),
      onOpen: () => this.#subscribe(),
      onChange,
      platform,
    });
  }

  /** The connection's status. */
  get status() {
    return this.#connection.status;
  }

  /**
   * Subscribe to `symbol` on the socket at `url`, in place of any other symbol.
   * @param {string} url
   * @param {string} symbol
   */
  open(url, symbol) {
    this.#symbol = symbol;
    this.#place = null;
    this.#platform.clearTimeout(this.#retryTimer);
    this.#connection.open(url);
  }

  /**
   * Report to the server, at most every ECHO_MS, that this view is on the screen.
   * @param {{instance: string, timestamp: number}} view
   * @param {number} nowMs
   */
  shown({ instance, timestamp }, nowMs) {
    if (nowMs - this.#echoedAtMs < ECHO_MS) return;
    this.#echoedAtMs = nowMs;
    this.#connection.send({ op: "echo", instance, timestamp });
  }

  /** End the wait and reconnect at once. */
  retryNow() {
    this.#connection.retryNow();
  }

  /** Compare with the clock; call it after the device slept. */
  check() {
    this.#connection.check();
  }

  /** Disconnect and stay disconnected. */
  close() {
    this.#platform.clearTimeout(this.#retryTimer);
    this.#connection.close();
  }

  #subscribe() {
    // A restarted simulation repeats its trade ids with other contents; an exchange never does.
    const resumes = this.#place !== null && this.#parts.status?.source === "exchange";
    this.#parts = {};
    this.#trades = [];
    this.#request(resumes ? this.#place : null);
  }

  /** @param {TradePlace | null} place of the first trade wanted; null for the newest ones */
  #request(place) {
    this.#platform.clearTimeout(this.#retryTimer);
    const topics = topicsOf(this.#symbol);
    const rate = this.#rate();
    this.#connection.send({ op: "subscribe", topics, ...(rate === "full" ? {} : { rate }), ...place });
  }

  /** @param {FeedMessage} message */
  #received(message) {
    if ("op" in message) {
      if (message.op === "error") this.#refused(message);
      return;
    }
    const kind = message.topic.split(".", 1)[0];
    if (kind === "trades") this.#addTrades(/** @type {TradesMessage} */ (message));
    else this.#keep(kind, message);
    if (kind === "book") this.#deliver();
  }

  /** @param {ErrorMessage} message */
  #refused({ parameter, detail, retry_after_s: retryAfterS }) {
    if (parameter === "from_id") {
      this.#request(null); // this server has other trades
      return;
    }
    this.#onRefused(detail);
    if (retryAfterS) this.#retryTimer = this.#platform.setTimeout(() => this.#subscribe(), retryAfterS * 1000);
  }

  /**
   * @param {string} kind
   * @param {TopicMessage} message
   */
  #keep(kind, message) {
    this.#parts = { ...this.#parts, [kind]: message };
  }

  /** @param {TradesMessage} message */
  #addTrades({ trades }) {
    this.#trades = [...trades, ...this.#trades];
    const { id, first_trade_id: firstTradeId } = trades[trades.length - 1];
    this.#place = { from_id: id, from_first_trade_id: firstTradeId + 1 }; // the exchange may use an id twice
  }

  #deliver() {
    const { status, proof, kline, metrics, book } = this.#parts;
    if (!status || !proof || !kline || !metrics || !book) return;
    const trades = this.#trades.sort(newestFirst);
    this.#trades = [];
    this.#onView({ ...status, ...proof, ...kline, ...metrics, ...book, trades });
  }
}
