// The streams of a symbol as the page shows them: each one's age, whether it is silent, and which checks confirm
// nothing because of it. Pure functions of what the server sent; they know no page.

import { age } from "./format.js";

/** @import {Book} from "./state.js" */
/** @import {Check, Stream, StreamKind, StreamReport} from "./types.js" */

/** @type {Record<StreamKind, string>} */
const NAMES = { depth: "depth", bookTicker: "bookTicker", partial: "partial depth", trade: "trades", kline: "candles" };
/** @type {Record<Check, StreamKind>} */
const STREAM_OF = { touch: "bookTicker", top: "partial", candle: "kline" };

/**
 * Return how long ago a stream last sent anything; null where the symbol has no such stream, or nothing has come yet.
 * @param {Pick<Book, "view" | "receivedAtMs">} book
 * @param {StreamKind} kind
 * @param {number} nowMs
 */
export function streamAge({ view, receivedAtMs }, kind, nowMs) {
  const ageMs = streamOf(view?.streams, kind)?.age_ms ?? null;
  return ageMs === null ? null : Math.max(0, nowMs - receivedAtMs) + ageMs;
}

/**
 * @param {Stream[] | undefined} streams
 * @param {StreamKind} kind
 */
function streamOf(streams, kind) {
  return streams?.find((stream) => stream.kind === kind);
}

/**
 * Return the kinds of the streams that are silent.
 * @param {Pick<Book, "view">} book
 */
export function silentKinds({ view }) {
  return (view?.streams ?? []).filter(({ state }) => state === "silent").map(({ kind }) => kind);
}

/**
 * Return a stream's age as the head of its panel shows it; "" where it has none.
 * @param {Pick<Book, "view" | "receivedAtMs">} book
 * @param {StreamKind} kind
 * @param {number} nowMs
 */
export function ageNote(book, kind, nowMs) {
  const ageMs = streamAge(book, kind, nowMs);
  if (silentKinds(book).includes(kind)) return ageMs === null ? "silent" : `silent for ${age(ageMs)}`;
  return ageMs === null ? "" : `${age(ageMs)} ago`;
}

/**
 * Return which of the exchange's streams are silent, as a clause; "" where every check confirms.
 * @param {Check[]} checks those that confirm nothing now
 */
export function silentText(checks) {
  if (checks.length === 0) return "";
  const names = checks.map((check) => NAMES[STREAM_OF[check]]);
  return `the exchange's ${names.join(" and ")} ${names.length === 1 && names[0] !== "candles" ? "is" : "are"} silent`;
}

/**
 * Return the streams of a proof as one text: each one's age, its usual interval, and why one is silent.
 * @param {StreamReport[]} streams
 */
export function streamList(streams) {
  return streams.map(reportText).join("; ");
}

/** @param {StreamReport} report */
function reportText({ kind, state, age_ms: ageMs, usual_ms: usualMs, reason }) {
  const last = ageMs === null ? "nothing yet" : `${age(ageMs)} ago`;
  const usual = usualMs === null ? "" : `, usually every ${usualMs < 1000 ? `${usualMs} ms` : age(usualMs)}`;
  return `${NAMES[kind]} ${last}${usual}${state === "silent" ? `, silent${reason ? `: ${reason}` : ""}` : ""}`;
}
