// Types of everything that comes from the server: the feed's messages (asyncapi.json) and the HTTP API's answers
// (/openapi.json). It holds types alone and no code; modules name them with `@import`. Null means "not known now".

/** What a view may claim; anything but "live" still carries the last known book.
 * @typedef {"live" | "syncing" | "stale" | "halted" | "offline"} State
 */

/** Where the data comes from.
 * @typedef {"exchange" | "simulation" | "replay"} Source
 */

/** `[price, quantity]` of one level.
 * @typedef {[price: number, quantity: number]} Level
 */

/** A side of the book.
 * @typedef {"bid" | "ask"} Side
 */

/** One trade; `aggressor` is the taker's side, `time_ms` the exchange's time.
 * @typedef {object} Trade
 * @property {number} id
 * @property {number} price
 * @property {number} quantity
 * @property {"buyer" | "seller"} aggressor
 * @property {number} time_ms
 * @property {number} first_trade_id of the single trades in it; tells two trades of one id apart
 */

/** Where a candle comes from: built here as trades came, with some fetched afterwards, or the exchange's own; of a
 * longer interval also minutes of several kinds.
 * @typedef {"live" | "repaired" | "exchange" | "mixed"} CandleSource
 */

/** One candle; `timestamp` is the interval's open, ISO 8601, UTC. `missing_minutes` and `reconciled` come with the
 * API's candles only.
 * @typedef {object} Candle
 * @property {string} symbol
 * @property {string} timestamp
 * @property {number} open
 * @property {number} high
 * @property {number} low
 * @property {number} close
 * @property {number} volume
 * @property {number} quote_volume
 * @property {number} taker_buy_volume
 * @property {CandleSource} source
 * @property {boolean} is_closed
 * @property {boolean} [reconciled]
 * @property {number} [missing_minutes]
 */

/** Who the page is for the server; `session` says that a cookie made it so.
 * @typedef {{role: "anonymous" | "reader" | "operator", token_needed: boolean, session: boolean}} SessionReport
 */

/** @typedef {object} Metrics
 * @property {number | null} mid_price
 * @property {number | null} spread_abs
 * @property {number | null} spread_pct
 * @property {number | null} cvd
 * @property {number | null} best_bid
 * @property {number | null} best_ask
 * @property {number | null} spread_bps
 * @property {number | null} microprice
 * @property {number | null} imbalance
 * @property {number | null} queue_imbalance
 * @property {number | null} depth_10bps_bid
 * @property {number | null} depth_10bps_ask
 * @property {boolean} depth_10bps_exact
 * @property {number | null} ofi
 * @property {number | null} trade_cvd
 * @property {number | null} vwap
 * @property {number} trade_rate
 * @property {number | null} realised_volatility
 * @property {number | null} realised_volatility_bps
 * @property {number | null} realised_volatility_s
 */

/** The prices between which the book is exact; null where the whole side is known. On the wire it is `window`.
 * @typedef {object} KnownRange
 * @property {number | null} bid_floor
 * @property {number | null} ask_ceiling
 * @property {number} bid_levels
 * @property {number} ask_levels
 */

/** Results of the cross-checks since the server started; times are the exchange's, in ms, 0 for never.
 * @typedef {object} ProofCounts
 * @property {number} contiguous_since_ms
 * @property {number} touch_compared
 * @property {number} touch_equal
 * @property {number} top_compared
 * @property {number} top_equal
 * @property {number} audits
 * @property {number} audited_ms
 * @property {number} levels_compared
 * @property {number} levels_differing
 * @property {number} resyncs
 * @property {number} incidents
 * @property {Check[]} silent_checks those that confirm nothing now, because the exchange's stream behind them is silent
 */

/** @typedef {"touch" | "top" | "candle"} Check */
/** @typedef {"depth" | "bookTicker" | "partial" | "trade" | "kline"} StreamKind */

/** One stream of the exchange; `age_ms` is null before its first frame.
 * @typedef {object} Stream
 * @property {StreamKind} kind
 * @property {"live" | "quiet" | "silent" | "offline"} state
 * @property {number | null} age_ms
 */

/** A stream with its habit, and why it is silent.
 * @typedef {Stream & {usual_ms: number | null, reason: string}} StreamReport
 */

/** @typedef {object} Instrument
 * @property {string} symbol
 * @property {string} base_asset
 * @property {string} quote_asset
 * @property {string} status
 * @property {number} tick_size
 * @property {number} lot_size
 * @property {number} price_decimals
 * @property {number} quantity_decimals
 */

// ---- the feed

/** What every message of a view has; messages with one `seq` belong to one view of the process `instance`.
 * @typedef {object} Head
 * @property {string} topic
 * @property {number} seq
 * @property {string} instance
 * @property {string} symbol
 * @property {State} state
 * @property {number} last_update_id
 * @property {number} event_time_ms
 * @property {number} timestamp seconds since the epoch by the server's clock
 */

/** @typedef {object} BookBody
 * @property {string} state_reason
 * @property {number | null} data_age_ms
 * @property {Level[]} bids
 * @property {Level[]} asks
 */

/** @typedef {object} MetricsBody
 * @property {number} session_start_ms
 * @property {Metrics} metrics
 */

/** @typedef {object} KlineBody
 * @property {Candle | null} candle
 * @property {Candle | null} closed_candle
 */

/** @typedef {object} ProofBody
 * @property {KnownRange} window
 * @property {ProofCounts} proof
 */

/** @typedef {object} StatusBody
 * @property {string} state_reason
 * @property {Source} source
 * @property {string} venue
 * @property {number | null} data_age_ms
 * @property {Stream[]} streams
 * @property {Instrument | null} instrument
 */

/** @typedef {Head & BookBody} BookMessage */
/** @typedef {Head & MetricsBody} MetricsMessage */
/** @typedef {Head & KlineBody} KlineMessage */
/** @typedef {Head & ProofBody} ProofMessage */
/** @typedef {Head & StatusBody} StatusMessage */

/** Trades, oldest first, ids contiguous; `gap` names missing trades before the first.
 * @typedef {object} TradesMessage
 * @property {string} topic
 * @property {number} seq
 * @property {number} first_id
 * @property {number} last_id
 * @property {{first_id: number, last_id: number} | null} gap
 * @property {Trade[]} trades
 */

/** A message of a topic, by the topic's first part.
 * @typedef {object} Topics
 * @property {BookMessage} book
 * @property {MetricsMessage} metrics
 * @property {KlineMessage} kline
 * @property {ProofMessage} proof
 * @property {StatusMessage} status
 * @property {TradesMessage} trades
 */

/** @typedef {keyof Topics} TopicKind */
/** @typedef {Topics[TopicKind]} TopicMessage */

/** A request that changed nothing, and why.
 * @typedef {object} ErrorMessage
 * @property {"error"} op
 * @property {string | number | null} [id] that of the request
 * @property {string} parameter
 * @property {string} detail
 * @property {number | null} retry_after_s when it may be sent again unchanged; null where that is pointless
 */

/** An answer that needs no action here: "subscribed", "unsubscribed" or "pong".
 * @typedef {object} Acknowledgement
 * @property {"subscribed" | "unsubscribed" | "pong"} op
 */

/** A message of a topic that is not part of a view; its panel knows its fields.
 * @typedef {object} OtherMessage
 * @property {string} topic
 * @property {number} seq
 * @property {string} instance
 * @property {string} symbol
 */

/** @typedef {TopicMessage | OtherMessage | ErrorMessage | Acknowledgement} FeedMessage */

/** A place among trades: from the trade of this id on, of that one's fills from the second id on.
 * @typedef {{from_id: number, from_first_trade_id: number}} TradePlace
 */

/** The most messages of a topic: one for each view, four a second, one a second.
 * @typedef {"full" | "4hz" | "1hz"} Rate
 */

/** `id` comes back with the answer; further options are those of one kind of topic.
 * @typedef {{op: "subscribe", id: string, topics: string[], rate?: Rate} & Partial<TradePlace>} SubscribeRequest
 */

/** @typedef {{op: "unsubscribe", topics: string[]}} UnsubscribeRequest */

/** A view was shown; the server measures its age and does not answer.
 * @typedef {{op: "echo", instance: string, timestamp: number}} EchoRequest
 */

/** @typedef {SubscribeRequest | UnsubscribeRequest | EchoRequest} FeedRequest */

/** One complete view of a symbol: any later one replaces it. Levels best first, trades newest first.
 * @typedef {Omit<Head, "topic"> & BookBody & MetricsBody & KlineBody & ProofBody & StatusBody & {trades: Trade[]}} View
 */

// ---- the HTTP API

/** How many minutes of a symbol's past have been fetched, and of how many.
 * @typedef {{minutes: number, of: number}} HistoryProgress
 */

/** A symbol the server follows; nulls until the exchange has described it.
 * @typedef {object} SymbolInfo
 * @property {string} symbol
 * @property {string | null} base_asset
 * @property {string | null} quote_asset
 * @property {string | null} status
 * @property {number | null} tick_size
 * @property {number | null} lot_size
 * @property {number | null} price_decimals
 * @property {number | null} quantity_decimals
 * @property {State} state
 * @property {HistoryProgress | null} history
 */

/** /api/symbols; `listed` names every symbol the exchange lists, or only the running ones until that is known.
 * @typedef {object} SymbolList
 * @property {string} default
 * @property {string} venue
 * @property {Source} source
 * @property {SymbolInfo[]} symbols
 * @property {string[]} listed
 * @property {boolean} is_listing_known
 */

/** The last 24 hours of a symbol; null where it was not traded in that time.
 * @typedef {object} WatchRow
 * @property {string} symbol
 * @property {number | null} last
 * @property {number | null} change_percent
 * @property {number | null} high
 * @property {number | null} low
 * @property {number | null} quote_volume
 * @property {number} trade_count
 */

/** /api/watchlist; `age_ms` is null before the exchange's first answer.
 * @typedef {object} WatchReport
 * @property {number | null} date_ms
 * @property {number | null} age_ms
 * @property {number} every_ms
 * @property {number} left_out
 * @property {string} trouble
 * @property {WatchRow[]} rows
 */

/** /api/store; `pending` counts candles that wait to be stored.
 * @typedef {{kind: string, ok: boolean, detail: string, pending: number}} StoreReport
 */

/** A span of a day that is missing, with its cause.
 * @typedef {{from: string, to: string, cause: string, reason: string}} Hole
 */

/** How much of a day the book was proven and the candles are whole; `share` is null where nothing is known.
 * @typedef {object} DayCoverage
 * @property {string} day
 * @property {string} until
 * @property {{share: number | null, holes: Hole[]}} book
 * @property {{share: number | null, missing_minutes: number, holes: Hole[]}} candles
 */

/** /api/coverage; days newest first.
 * @typedef {{symbol: string, days: DayCoverage[]}} Coverage
 */

/** One step from the exchange to the screen; null before it was measured.
 * @typedef {object} Hop
 * @property {string} hop
 * @property {string} meaning
 * @property {number} budget_ms
 * @property {number | null} p50_ms
 * @property {number | null} p99_ms
 */

/** /api/latency; `over_budget` names hops.
 * @typedef {object} LatencyReport
 * @property {Hop[]} hops
 * @property {string[]} over_budget
 * @property {number} clock_offset_ms
 * @property {number | null} clock_error_ms
 */

/** One difference that was found. `cause` is "gap", "crossed", "touch", "top", "whole" or "snapshot".
 * @typedef {object} Incident
 * @property {number} time_ms
 * @property {string} cause
 * @property {string} reason
 * @property {number} update_id
 * @property {Level[]} ours
 * @property {Level[]} theirs
 */

/** A minute as the server and the exchange each report it.
 * @typedef {object} Minute
 * @property {number} open_time_ms
 * @property {number} open
 * @property {number} high
 * @property {number} low
 * @property {number} close
 * @property {number} volume
 * @property {number} quote_volume
 * @property {number} trade_count
 * @property {number} taker_buy_volume
 * @property {number} taker_buy_quote_volume
 * @property {number} first_trade_id
 * @property {number} last_trade_id
 */

/** @typedef {{time_ms: number, ours: Minute, theirs: Minute}} CandleMismatch */

/** /api/proof/{symbol}; incidents and mismatches newest first.
 * @typedef {object} ProofReport
 * @property {string} symbol
 * @property {State} state
 * @property {string} state_reason
 * @property {number} last_update_id
 * @property {number} contiguous_since_id
 * @property {number} diffs_applied
 * @property {KnownRange} window
 * @property {ProofCounts} proof
 * @property {number} audit_levels_compared
 * @property {number} audit_levels_differing
 * @property {number | null} audit_every_s how often the whole book is compared; null where nothing is requested
 * @property {Incident[]} incidents
 * @property {CandleMismatch[]} candle_mismatches
 * @property {StreamReport[]} streams
 */

export {};
