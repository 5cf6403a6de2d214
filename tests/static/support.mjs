// Complete views, trades, candles and instruments for tests, and a clock and sockets that a test controls.

/** @import {Bar} from "../../static/state.js" */
/** @import {Candle, Instrument, Level, Metrics, ProofCounts, Trade, View} from "../../static/types.js" */

/** @type {ProofCounts} */
export const PROOF = {
  contiguous_since_ms: 5,
  touch_compared: 3,
  touch_equal: 3,
  top_compared: 1,
  top_equal: 1,
  audits: 0,
  audited_ms: 0,
  levels_compared: 0,
  levels_differing: 0,
  resyncs: 0,
  incidents: 0,
  silent_checks: [],
};

/** @type {Metrics} */
export const METRICS = {
  mid_price: 100,
  spread_abs: 0.01,
  spread_pct: 0.01,
  cvd: 0,
  best_bid: 99.99,
  best_ask: 100,
  spread_bps: 1,
  microprice: 100,
  imbalance: 0,
  queue_imbalance: 0,
  depth_10bps_bid: 1,
  depth_10bps_ask: 1,
  depth_10bps_exact: true,
  ofi: 0,
  trade_cvd: 0,
  vwap: 100,
  trade_rate: 1,
  realised_volatility: 10,
  realised_volatility_bps: 1,
  realised_volatility_s: 300,
};

/** @type {Instrument} */
export const BTC = {
  symbol: "BTCUSDT",
  base_asset: "BTC",
  quote_asset: "USDT",
  status: "TRADING",
  tick_size: 0.01,
  lot_size: 0.00001,
  price_decimals: 2,
  quantity_decimals: 5,
};

/**
 * @param {Partial<View>} change
 * @returns {View}
 */
export function view(change = {}) {
  return {
    seq: 1,
    instance: "aaaaaaaa",
    symbol: "BTCUSDT",
    state: "live",
    state_reason: "",
    source: "exchange",
    venue: "binance",
    last_update_id: 7,
    event_time_ms: 0,
    timestamp: 0,
    data_age_ms: 40,
    streams: [{ kind: "depth", state: "live", age_ms: 40 }],
    bids: [[99.99, 1]],
    asks: [[100, 1]],
    session_start_ms: 0,
    metrics: METRICS,
    window: { bid_floor: null, ask_ceiling: null, bid_levels: 1, ask_levels: 1 },
    proof: PROOF,
    instrument: BTC,
    trades: [],
    candle: null,
    closed_candle: null,
    ...change,
  };
}

/**
 * @param {string} timestamp
 * @param {Partial<Candle>} change
 * @returns {Candle}
 */
export function candle(timestamp, change = {}) {
  return {
    symbol: "BTCUSDT",
    timestamp,
    open: 1,
    high: 2,
    low: 0.5,
    close: 1.5,
    volume: 3,
    quote_volume: 4,
    taker_buy_volume: 2,
    source: "live",
    is_closed: true,
    ...change,
  };
}

/** What a bar has beside its prices and its volume.
 * @type {Pick<Bar, "quoteVolume" | "takerBuyVolume" | "missing" | "source" | "isReconciled">}
 */
export const BAR_REST = { quoteVolume: 4, takerBuyVolume: 2, missing: 0, source: "live", isReconciled: false };

/**
 * @param {number[]} ids
 * @returns {Trade[]}
 */
export function trades(...ids) {
  return ids.map((id) => ({ id, price: id, quantity: 1, aggressor: "buyer", time_ms: 0, first_trade_id: 10 * id }));
}

/**
 * @param {number} count
 * @returns {Level[]}
 */
export function levels(count) {
  return Array.from({ length: count }, (_, at) => [100 - at, 1]);
}

/** A socket that records what is sent; the test calls its handlers. */
export class FakeSocket {
  /** @type {((event: Event) => unknown) | null} */
  onopen = null;
  /** @type {((event: MessageEvent) => unknown) | null} */
  onmessage = null;
  /** @type {((event: CloseEvent) => unknown) | null} */
  onclose = null;
  /** @type {Record<string, unknown>[]} */
  sent = [];
  isClosed = false;

  /** @param {string} text */
  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.isClosed = true;
  }

  open() {
    this.onopen?.(new Event("open"));
  }

  /** @param {string} data */
  receive(data) {
    this.onmessage?.(new MessageEvent("message", { data }));
  }

  /**
   * Report that the other side closed. Node 18 has no CloseEvent; only its code and reason are read.
   * @param {number} code
   */
  lose(code, reason = "") {
    this.onclose?.(/** @type {CloseEvent} */ (Object.assign(new Event("close"), { code, reason })));
  }
}

/** A platform whose clock, timers and sockets a test controls. */
export function fakePlatform(random = 0.5) {
  /** @type {FakeSocket[]} */
  const sockets = [];
  /** @type {Map<unknown, {act: () => void, ms: number}>} */
  const timers = new Map();
  const clock = { nowMs: 1_000 };
  let timersMade = 0;
  class Socket extends FakeSocket {
    /** @param {string} url */
    constructor(url) {
      super();
      this.url = url;
      sockets.push(this);
    }
  }
  const platform = {
    WebSocket: Socket,
    now: () => clock.nowMs,
    random: () => random,
    setTimeout: (/** @type {() => void} */ act, /** @type {number} */ ms) => {
      timersMade += 1;
      timers.set(timersMade, { act, ms });
      return timersMade;
    },
    clearTimeout: (/** @type {unknown} */ id) => void timers.delete(id),
    setInterval: () => 0,
    clearInterval: () => {},
  };
  const last = () => newest(sockets);
  const due = () => newest([...timers.values()]);
  return { platform, sockets, timers, clock, last, due };
}

/**
 * Return the last of several; a test that has none is wrong.
 * @template Item
 * @param {Item[]} items
 */
export function newest(items) {
  const item = items.at(-1);
  if (item === undefined) throw new Error("expected at least one, got none");
  return item;
}
