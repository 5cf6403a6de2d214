// Lists of trades, newest first: merged by their ids and bounded, as rows of the tape with what is missing between
// them, and what they come to. Pure functions.

/** @import {Trade} from "./types.js" */

/** Kept trades: as many as the server keeps for a client that comes back. */
export const TRADES_KEPT = 2_000;
/** Of them, those that the tape's sums and its measure of a large trade are of. */
export const TRADES_RECENT = 200;

/**
 * Return the union of two lists of trades by their ids, newest first, the newest `most`, and how many of the incoming
 * ones were new; the same list when none was.
 * @param {Trade[]} trades
 * @param {Trade[]} incoming
 */
export function addTrades(trades, incoming, most = TRADES_KEPT) {
  const oldest = trades.length >= most ? trades[trades.length - 1].id : -Infinity;
  const first = incoming.reduce((least, { id }) => Math.min(least, id), Infinity);
  // Only those that may be among the incoming ones are compared: the rest of a long list is older.
  const at = trades.findIndex(({ id }) => id < first);
  const known = new Set(trades.slice(0, at < 0 ? trades.length : at).map(tradeKey));
  const fresh = incoming.filter((trade) => trade.id > oldest && !known.has(tradeKey(trade)));
  if (fresh.length === 0) return { trades, added: 0 };
  return { trades: [...fresh, ...trades].sort(newestFirst).slice(0, most), added: fresh.length };
}

/**
 * Order trades newest first. The exchange has used one id twice: the ids of what is in them tell such two apart.
 * @param {Trade} left
 * @param {Trade} right
 */
export const newestFirst = (left, right) => right.id - left.id || right.first_trade_id - left.first_trade_id;

/** @param {Trade} trade */
const tradeKey = ({ id, first_trade_id: firstTradeId }) => `${id}/${firstTradeId}`;

/** A row of the tape: a trade, or the number of trades that are missing there.
 * @typedef {{key: string, trade: Trade} | {key: string, missing: number}} TapeRow
 */

/**
 * Return the tape's rows, newest first, at most `most`: the trades worth at least `least` in the quote asset. Ids on
 * the exchange are contiguous, so a jump of ids is trades that this page never received; such a row is never left out,
 * because their sizes are not known.
 * @param {Trade[]} trades
 */
export function tapeRows(trades, most = TRADES_KEPT, least = 0) {
  /** @type {TapeRow[]} */
  const rows = [];
  for (let at = 0; at < trades.length && rows.length < most; at += 1) {
    const trade = trades[at];
    const missing = at === 0 ? 0 : trades[at - 1].id - trade.id - 1;
    if (missing > 0) rows.push({ key: `${trades[at - 1].id}-${missing}`, missing });
    if (rows.length < most && worth(trade) >= least) rows.push({ key: tradeKey(trade), trade });
  }
  return rows;
}

/**
 * Return what a trade is worth in the quote asset.
 * @param {Pick<Trade, "price" | "quantity">} trade
 */
export function worth({ price, quantity }) {
  return price * quantity;
}

/** 1 up, -1 down, 0 unknown.
 * @typedef {1 | -1 | 0} Direction
 */

/**
 * Return the last traded price and its direction against the last different price; null before the first trade.
 * @param {Pick<Trade, "price">[]} trades
 */
export function lastTrade(trades) {
  if (trades.length === 0) return null;
  const { price } = trades[0];
  const before = trades.find((trade) => trade.price !== price);
  /** @type {Direction} */
  let direction = 0;
  if (before !== undefined) direction = price > before.price ? 1 : -1;
  return { price, direction };
}

/**
 * Return the bought and the sold quantity of `trades`, and the part that was bought (null without trades).
 * @param {Pick<Trade, "aggressor" | "quantity">[]} trades
 */
export function tradeBalance(trades) {
  let bought = 0;
  let sold = 0;
  for (const { aggressor, quantity } of trades) {
    if (aggressor === "buyer") bought += quantity;
    else sold += quantity;
  }
  return { bought, sold, part: bought + sold > 0 ? bought / (bought + sold) : null };
}
