// The feed of all symbols on the screen: subscribes to their topics over one connection that reconnects by itself, and
// assembles complete views from their messages. It needs no page: a bot under Node may use it as it is.

import { browserPlatform, Connection } from "./connection.js";
import { newestFirst } from "./trade_list.js";

/** @import {Platform} from "./connection.js" */
/** @import {ErrorMessage, FeedMessage, FeedRequest, OtherMessage, SubscribeRequest} from "./types.js" */
/** @import {TopicKind, TopicMessage} from "./types.js" */
/** @import {Rate, TradePlace, Topics, Trade, TradesMessage, View} from "./types.js" */

export const ECHO_MS = 20_000; // how often a painted view is reported, so that the server can measure its age

const REQUESTS_MAX = 40; // in REQUESTS_MS: the server closes a connection that sends more than 50
const REQUESTS_MS = 10_000;

/** In the order in which the server sends them.
 * @type {TopicKind[]}
 */
export const KINDS = ["status", "proof", "kline", "metrics", "trades", "book"];

/**
 * Return the topics of a symbol's view. The book is last: messages before it are of the same view, or have not changed.
 * @param {string} symbol
 */
export function topicsOf(symbol) {
  return KINDS.map((kind) => `${kind}.${symbol}${kind === "kline" ? ".1m" : ""}`);
}

/** A further topic, with the options of its subscription.
 * @typedef {{topic: string} & Record<string, string | number>} OtherTopic
 */

/** One symbol that is followed. `parts` has the newest message of each kind; `trades` those since the last view;
 * `place` is that after the last one received; `others` has further topics as their requests.
 * @typedef {object} Followed
 * @property {string} symbol
 * @property {Set<string>} topics
 * @property {Partial<Omit<Topics, "trades">>} parts
 * @property {Trade[]} trades
 * @property {TradePlace | null} place
 * @property {Map<string, string>} others
 * @property {unknown} retryTimer of a subscription that was refused for now
 */

/** The feed of several symbols at a time. */
export class Feed {
  #connection;
  #onView;
  #onMessage;
  #onRefused;
  #rate;
  /** @type {Map<string, Followed>} */
  #followed = new Map();
  #echoedAtMs = 0;
  /** When the newest requests were sent.
   * @type {number[]}
   */
  #sentAtMs = [];
  /** What is to be followed as soon as the server may be asked again.
   * @type {Map<string, OtherTopic[]> | null}
   */
  #waiting = null;
  #platform;

  /**
   * @param {object} options
   * @param {(view: View) => void} options.onView for each view, with the trades since the one before it
   * @param {() => void} options.onChange after each change of `status`
   * @param {(message: OtherMessage) => void} [options.onMessage] for each message of a further topic
   * @param {(symbol: string, detail: string) => void} [options.onRefused] when the server refuses a subscription
   * @param {() => Rate} [options.rate] how often views come, asked at each subscription; no trade is left out
   * @param {Partial<Platform>} [options.platform]
   */
  constructor({ onView, onChange, onMessage = () => {}, onRefused = () => {}, rate = () => "full", platform }) {
    this.#onView = onView;
    this.#onMessage = onMessage;
    this.#onRefused = onRefused;
    this.#rate = rate;
    this.#platform = { ...browserPlatform(), ...platform };
    this.#connection = new Connection({
      onMessage: (message) => this.#received(message),
      onOpen: () => this.#opened(),
      onChange,
      platform,
    });
  }

  /** The connection's status. */
  get status() {
    return this.#connection.status;
  }

  /**
   * Connect to the socket at `url`.
   * @param {string} url
   */
  open(url) {
    this.#connection.open(url);
  }

  /**
   * Follow exactly these symbols, each with these further topics. What goes on is not asked for again. Where that
   * changes more often than the server may be asked, it waits, and only the last change counts.
   * @param {Map<string, OtherTopic[]>} wanted
   */
  follow(wanted) {
    const nowMs = this.#platform.now();
    this.#sentAtMs = this.#sentAtMs.filter((sentAtMs) => nowMs - sentAtMs < REQUESTS_MS);
    if (this.#sentAtMs.length < REQUESTS_MAX) return this.#follow(wanted);
    const waitMs = this.#sentAtMs[0] + REQUESTS_MS - nowMs;
    if (this.#waiting === null) this.#platform.setTimeout(() => this.#followWaiting(), waitMs);
    this.#waiting = wanted;
  }

  #followWaiting() {
    const wanted = this.#waiting;
    this.#waiting = null;
    if (wanted !== null) this.follow(wanted);
  }

  /** @param {Map<string, OtherTopic[]>} wanted */
  #follow(wanted) {
    for (const symbol of [...this.#followed.keys()]) if (!wanted.has(symbol)) this.#leave(symbol);
    this.#waiting = null;
    for (const [symbol, others] of wanted) {
      const followed = this.#followed.get(symbol) ?? this.#join(symbol);
      this.#setOthers(followed, others);
    }
  }

  /**
   * Ask again for a symbol that was refused.
   * @param {string} symbol
   */
  again(symbol) {
    const followed = this.#followed.get(symbol);
    if (followed !== undefined) this.#subscribe(followed, null);
  }

  /**
   * Report to the server, at most every ECHO_MS, that this view is on the screen.
   * @param {{instance: string, timestamp: number}} view
   * @param {number} nowMs
   */
  shown({ instance, timestamp }, nowMs) {
    if (nowMs - this.#echoedAtMs < ECHO_MS) return;
    this.#echoedAtMs = nowMs;
    this.#send({ op: "echo", instance, timestamp });
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
    this.follow(new Map());
    this.#connection.close();
  }

  /** @param {FeedRequest} request */
  #send(request) {
    this.#sentAtMs.push(this.#platform.now());
    this.#connection.send(request);
  }

  /** @param {string} symbol */
  #join(symbol) {
    /** @type {Followed} */
    const followed = {
      symbol,
      topics: new Set(topicsOf(symbol)),
      parts: {},
      trades: [],
      place: null,
      others: new Map(),
      retryTimer: null,
    };
    this.#followed.set(symbol, followed);
    this.#subscribe(followed, null);
    return followed;
  }

  /** @param {string} symbol */
  #leave(symbol) {
    const followed = this.#followed.get(symbol);
    if (followed === undefined) return;
    this.#platform.clearTimeout(followed.retryTimer);
    this.#followed.delete(symbol);
    this.#send({ op: "unsubscribe", topics: [...followed.topics, ...followed.others.keys()] });
  }

  /**
   * @param {Followed} followed
   * @param {OtherTopic[]} wanted
   */
  #setOthers({ others }, wanted) {
    /** @type {Map<string, Record<string, string | number>>} */
    const options = new Map();
    for (const { topic, ...each } of wanted) options.set(topic, widest(options.get(topic), each));
    const requests = new Map([...options].map(([topic, each]) => [topic, this.#other(topic, each)]));
    const left = [...others.keys()].filter((topic) => !requests.has(topic));
    if (left.length > 0) this.#send({ op: "unsubscribe", topics: left });
    for (const topic of left) others.delete(topic);
    for (const [topic, request] of requests) {
      const text = JSON.stringify(request);
      if (others.get(topic) === text) continue;
      others.set(topic, text);
      this.#send(request);
    }
  }

  /**
   * @param {string} topic
   * @param {Record<string, string | number>} options
   * @returns {SubscribeRequest}
   */
  #other(topic, options) {
    return { op: "subscribe", id: topic, topics: [topic], ...this.#rated(), ...options };
  }

  #rated() {
    const rate = this.#rate();
    return rate === "full" ? {} : { rate };
  }

  #opened() {
    this.#sentAtMs = [];
    for (const followed of this.#followed.values()) {
      // A restarted simulation repeats its trade ids with other contents; an exchange never does.
      const resumes = followed.place !== null && followed.parts.status?.source === "exchange";
      followed.parts = {};
      followed.trades = [];
      this.#subscribe(followed, resumes ? followed.place : null);
      for (const request of followed.others.values()) this.#send(JSON.parse(request));
    }
  }

  /**
   * @param {Followed} followed
   * @param {TradePlace | null} place of the first trade wanted; null for the newest ones
   */
  #subscribe(followed, place) {
    this.#platform.clearTimeout(followed.retryTimer);
    const topics = [...followed.topics];
    this.#send({ op: "subscribe", id: followed.symbol, topics, ...this.#rated(), ...place });
  }

  /** @param {FeedMessage} message */
  #received(message) {
    if ("op" in message) {
      if (message.op === "error") this.#refused(message);
      return;
    }
    const [kind, symbol] = message.topic.split(".", 2);
    const followed = this.#followed.get(symbol);
    if (followed === undefined) return; // it was left a moment ago
    if (!followed.topics.has(message.topic)) return this.#onMessage(/** @type {OtherMessage} */ (message));
    if (kind === "trades") addTrades(followed, /** @type {TradesMessage} */ (message));
    else followed.parts = { ...followed.parts, [kind]: /** @type {TopicMessage} */ (message) };
    if (kind === "book") this.#deliver(followed);
  }

  /** @param {ErrorMessage} message */
  #refused({ id, parameter, detail, retry_after_s: retryAfterS }) {
    const followed = this.#followed.get(String(id));
    if (followed === undefined) return; // a further topic: its panels get no message
    if (parameter === "from_id") {
      this.#subscribe(followed, null); // this server has other trades
      return;
    }
    this.#onRefused(followed.symbol, detail);
    if (!retryAfterS) return;
    followed.retryTimer = this.#platform.setTimeout(() => this.#subscribe(followed, null), retryAfterS * 1000);
  }

  /** @param {Followed} followed */
  #deliver(followed) {
    const { status, proof, kline, metrics, book } = followed.parts;
    if (!status || !proof || !kline || !metrics || !book) return;
    const trades = followed.trades.sort(newestFirst);
    followed.trades = [];
    this.#onView({ ...status, ...proof, ...kline, ...metrics, ...book, trades });
  }
}

/**
 * Return the options of a topic that several panels want: the most rows, and a rate only where all want one.
 * @param {Record<string, string | number> | undefined} one
 * @param {Record<string, string | number>} other
 */
function widest(one, other) {
  if (one === undefined) return other;
  const { rate, ...rest } = { ...one, ...other };
  const rows = [one.rows, other.rows].filter(Number.isFinite).map(Number);
  return {
    ...rest,
    ...(one.rate === other.rate && rate !== undefined ? { rate } : {}),
    ...(rows.length > 0 ? { rows: Math.max(...rows) } : {}),
  };
}

/**
 * @param {Followed} followed
 * @param {TradesMessage} message
 */
function addTrades(followed, { trades }) {
  followed.trades = [...trades, ...followed.trades];
  const { id, first_trade_id: firstTradeId } = trades[trades.length - 1];
  followed.place = { from_id: id, from_first_trade_id: firstTradeId + 1 }; // the exchange may use an id twice
}
