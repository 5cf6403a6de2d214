// What the page knows, as pure functions from old state and news to new state: the newest picture per symbol, the
// merged trades, the bars, and the verdict on how far they may be trusted. No sockets, no document, no clock.

import { baseline } from "./proof_text.js";

export const TRADES_MAX = 200; // kept trades: what the tape can show
export const BARS_MAX = 1_500; // kept minutes: a day and an hour
export const SAMPLES_MAX = 300; // kept seconds of metrics: five minutes of small lines
export const MINUTE_S = 60;
const RECENT_BARS = 10; // how far back a hole is still asked about, once a minute
export const SILENCE_STALE_MS = 3_000; // the server speaks at least once a second

/**
 * All that is kept of one symbol: trades newest first, closed minutes as `bars` oldest first, this one as `live`;
 * `joined` is what the witnesses had said when the server's book joined.
 */
export function emptyBook(symbol) {
  return { symbol, picture: null, receivedAtMs: 0, trades: [], bars: [], live: null, samples: [], joined: null };
}

/** The book after `picture`, received at `nowMs`; the same object when the picture is older than what is known. */
export function apply(book, picture, nowMs) {
  if (picture.symbol !== book.symbol || isOlder(book.picture, picture)) return book;
  const kept = startsOver(book.picture, picture) ? emptyBook(book.symbol) : book;
  return {
    symbol: book.symbol,
    picture,
    receivedAtMs: nowMs,
    trades: mergeTrades(kept.trades, picture.trades),
    bars: picture.closed_candle ? mergeBars(kept.bars, [barOf(picture.closed_candle)]) : kept.bars,
    live: picture.candle ? barOf(picture.candle) : null,
    samples: sampled(kept.samples, picture, nowMs),
    joined: baseline(kept.joined, kept.picture, picture),
  };
}

/** What of `book` can be painted: no figures while it is not known in which assets and with how many digits. */
export function withoutUnknown(book) {
  return book.picture?.instrument === null ? { ...book, picture: null, trades: [] } : book;
}

// Within one process the sequence orders pictures; between two processes nothing does, so the later one wins.
function isOlder(known, picture) {
  return known !== null && known.instance === picture.instance && picture.seq < known.seq;
}

/**
 * Whether `picture` has nothing in common with the one before: another source, or a simulation or replay that began
 * again and repeats its ids with other contents. An exchange never does that.
 */
export function startsOver(known, picture) {
  if (known === null) return false;
  if (known.source !== picture.source) return true;
  return known.instance !== picture.instance && picture.source !== "exchange";
}

/** Adds closed candles, oldest first as `/api/ohlcv` gives them; a fetched bar replaces one of the same minute. */
export function applyHistory(book, candles) {
  return { ...book, bars: mergeBars(book.bars, barsOf(candles.filter((candle) => candle.is_closed !== false))) };
}

/** Candles as a chart's bars; `missing` is how many of a bar's minutes are not there. */
export function barsOf(candles) {
  return candles.map(barOf);
}

function barOf(candle) {
  const { open, high, low, close, volume, missing_minutes: missing = 0 } = candle;
  return { time: Date.parse(candle.timestamp) / 1000, open, high, low, close, volume, missing };
}

/** Bars by rising time, one a minute, the incoming one where both have it; the same list when nothing is new. */
export function mergeBars(bars, incoming, most = BARS_MAX) {
  const byTime = new Map(bars.map((bar) => [bar.time, bar]));
  const fresh = incoming.filter((bar) => !sameBar(byTime.get(bar.time), bar));
  if (fresh.length === 0) return bars;
  for (const bar of fresh) byTime.set(bar.time, bar);
  return [...byTime.values()].sort((left, right) => left.time - right.time).slice(-most);
}

/** Whether two bars of one minute say the same; an undefined one says nothing. */
export function sameBar(known, bar) {
  if (known === undefined) return false;
  return ["time", "open", "high", "low", "close", "volume", "missing"].every((name) => known[name] === bar[name]);
}

/** True when `bars` only continues `painted`: all but its last bar are the very same. A chart can then append. */
export function continues(painted, bars) {
  if (painted.length === 0) return bars.length === 0;
  if (bars.length < painted.length) return false;
  const last = painted.length - 1;
  if (bars[last].time !== painted[last].time) return false;
  return painted.slice(0, last).every((bar, at) => bar === bars[at]);
}

/** True when a minute among the newest ones is missing: the server may have fetched it since, so it is worth asking. */
export function missesMinute(bars) {
  const recent = bars.slice(-RECENT_BARS);
  return recent.some((bar, at) => at > 0 && bar.time - recent[at - 1].time > MINUTE_S);
}

/** The union of two lists of trades by id, newest first, the newest `most`; the same list when nothing is new. */
export function mergeTrades(trades, incoming, most = TRADES_MAX) {
  const known = new Set(trades.map((trade) => trade.id));
  const oldest = trades.length >= most ? trades[trades.length - 1].id : -Infinity;
  const fresh = incoming.filter((trade) => trade.id > oldest && !known.has(trade.id));
  if (fresh.length === 0) return trades;
  return [...fresh, ...trades].sort((left, right) => right.id - left.id).slice(0, most);
}

/**
 * The tape's rows for `trades`: `{key, trade}`, and `{key, missing}` wherever ids jump, because ids on the exchange
 * are contiguous and a jump is trades this page never saw. At most `most` rows, newest first.
 */
export function tapeRows(trades, most = TRADES_MAX) {
  const rows = [];
  for (let at = 0; at < trades.length && rows.length < most; at += 1) {
    const trade = trades[at];
    const missing = at === 0 ? 0 : trades[at - 1].id - trade.id - 1;
    if (missing > 0) rows.push({ key: `${trades[at - 1].id}-${missing}`, missing });
    if (rows.length < most) rows.push({ key: String(trade.id), trade });
  }
  return rows;
}

/** The last traded price and where it came from: 1 up, -1 down, 0 unknown; null before the first trade. */
export function lastTrade(trades) {
  if (trades.length === 0) return null;
  const { price } = trades[0];
  const before = trades.find((trade) => trade.price !== price);
  return { price, direction: before === undefined ? 0 : Math.sign(price - before.price) };
}

/** Bought and sold quantity of `trades`, and the part that was bought (null without trades). */
export function tradeBalance(trades) {
  let bought = 0;
  let sold = 0;
  for (const { aggressor, quantity } of trades) {
    if (aggressor === "buyer") bought += quantity;
    else sold += quantity;
  }
  return { bought, sold, part: bought + sold > 0 ? bought / (bought + sold) : null };
}

/**
 * What changed on one side, as a Map from price to "up" or "down". A level that only came into view because the
 * window moved has not changed: a new price counts only inside the range that was visible before.
 */
export function levelChanges(before, after) {
  const changes = new Map();
  if (before.length === 0) return changes;
  const known = new Map(before);
  const edge = before[before.length - 1][0];
  const falling = before[0][0] >= edge;
  for (const [price, quantity] of after) {
    const old = known.get(price);
    if (old === undefined && (falling ? price < edge : price > edge)) continue;
    if (old === undefined || quantity > old) changes.set(price, "up");
    else if (quantity < old) changes.set(price, "down");
  }
  return changes;
}

// One sample a second; a picture that may not be trusted leaves a hole.
function sampled(samples, picture, nowMs) {
  const second = Math.floor(nowMs / 1000);
  if (samples.length > 0 && samples[samples.length - 1].second >= second) return samples;
  const metrics = picture.state === "live" ? picture.metrics : null;
  return [...samples, { second, metrics }].slice(-SAMPLES_MAX);
}

/**
 * Whether what is on the screen may be believed, in one word for machines (`kind`) and a few for people (`words`).
 * `trusted` is true for live alone. `ageMs` is how long ago the server last heard of this symbol, null if never;
 * `counts` is true when the words say how long already.
 * `connection` is what `Connection.status` says; `refusal` is why the server does not send the symbol that was asked
 * for; a `fault` is an error in this page's own code.
 */
export function verdict({ connection, book, nowMs, refusal = "", fault = "" }) {
  const picture = book?.picture ?? null;
  const isHeard = picture !== null && picture.data_age_ms !== null;
  const ageMs = isHeard ? Math.max(0, nowMs - book.receivedAtMs) + picture.data_age_ms : null;
  const say = (kind, words, counts = false) => ({ kind, words, counts, ageMs, trusted: kind === "live" });
  if (fault !== "") return say("fault", `This page has a fault: ${fault}. Reload it.`);
  if (connection.phase !== "open") return say(...disconnected(connection, nowMs));
  if (refusal !== "") return say("refused", `${book.symbol} refused: ${refusal}`);
  const silenceMs = nowMs - connection.lastMessageAtMs;
  if (silenceMs > SILENCE_STALE_MS) return say("stale", `Stale: server silent for ${seconds(silenceMs)}`, true);
  if (picture === null || book.receivedAtMs < connection.openedAtMs) {
    return say("connecting", "Connected: waiting for the first picture");
  }
  const mute = picture.state === "stale" && !picture.state_reason;
  if (mute) return say("stale", `Stale: no update for ${seconds(ageMs)}`, true);
  if (picture.state === "live" && picture.instrument === null) {
    return say("syncing", "Syncing: the exchange has not said yet how this symbol is traded");
  }
  return say(picture.state, bookWords(picture));
}

function disconnected(connection, nowMs) {
  if (connection.phase === "idle") return ["connecting", "Connecting"];
  if (connection.phase === "connecting" && connection.attempt === 0) return ["connecting", "Connecting"];
  if (connection.phase === "connecting") return ["disconnected", "Disconnected: reconnecting now"];
  const wait = Math.max(1, Math.ceil((connection.retryAtMs - nowMs) / 1000));
  return ["disconnected", `Disconnected: reconnecting in ${wait} s`];
}

const LIVE_WORDS = { exchange: "Live", simulation: "Live simulation", replay: "Replaying" };
const STATE_WORDS = { syncing: "Syncing", stale: "Stale", halted: "Halted", offline: "Offline" };

function bookWords({ state, state_reason: reason, source }) {
  if (state === "live") return LIVE_WORDS[source] ?? "Live";
  const word = STATE_WORDS[state] ?? state;
  return reason ? `${word}: ${reason}` : word;
}

function seconds(milliseconds) {
  return `${Math.floor(milliseconds / 1000)} s`;
}

/** What to say where closed candles cannot be stored, and how many wait; empty while they can, or nothing is known. */
export function storeWords(store) {
  if (store === null || store.ok) return "";
  return `Candles not stored, ${store.pending} waiting`;
}

/** The sentence that says a source is not the market; empty for the exchange itself. */
export function sourceWords(source) {
  if (source === "simulation") return "Simulation: no real market data";
  return source === "replay" ? "Replay of a recording, not live" : "";
}

/** The symbol to show first, of those that are listed: the address's, the remembered one, or the server's default. */
export function firstSymbol(listed, fallback, ...wishes) {
  return [...wishes, fallback].find((wish) => listed.includes(wish)) ?? listed[0] ?? "";
}

/** Those of `names` that hold what was typed, however it was parted: the name itself, those that begin so, the rest. */
export function matching(names, typed) {
  const wanted = typed.toUpperCase().replaceAll(/[\s/_:-]/g, "");
  const rank = (name) => (name === wanted ? 0 : name.startsWith(wanted) ? 1 : 2);
  return names.filter((name) => name.includes(wanted)).sort((left, right) => rank(left) - rank(right));
}
