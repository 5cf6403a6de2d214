// What the health panel says, as sentences: whether what is on the screen is true, how old it is, and what is missing
// of today. Pure functions of what the server sent.

import { age, counted, fixed } from "../../format.js";
import { shield } from "../../shield.js";
import { silentText } from "../../streams.js";

/** @import {PanelModel} from "../../page_model.js" */
/** @import {Coverage, DayCoverage, LatencyReport, StoreReport, Stream, StreamKind} from "../../types.js" */

/** One line; `holds` is null where it is not known yet.
 * @typedef {{name: string, term: string, text: string, holds: boolean | null}} Line
 */

/** @type {Record<StreamKind, string>} */
const STREAMS = {
  depth: "order book",
  bookTicker: "best prices",
  partial: "best 20 levels",
  trade: "trades",
  kline: "candles",
};
/** The parts of a view's age, in the order in which they follow each other.
 * @type {[string, string][]}
 */
const PARTS = [
  ["exchange", "from the exchange to this server"],
  ["applied", "into the book"],
  ["published", "until the next view"],
  ["echo", "to a screen and back"],
];

/**
 * Return the line on the proof.
 * @param {Pick<PanelModel, "status" | "paused" | "view" | "joined">} model
 * @returns {Line}
 */
export function proofLine(model) {
  const line = { name: "proof", term: "Order book" };
  const { view } = model;
  if (view === null) return { ...line, text: "no book yet", holds: null };
  const { isVerified, reason } = shield(model);
  const made = counted(view.proof.touch_compared, "comparison", "comparisons");
  if (isVerified)
    return { ...line, text: `verified: ${made} with the exchange's own best prices, all equal`, holds: true };
  return { ...line, text: `not verified: ${reason}`, holds: model.status.trusted ? null : false };
}

/**
 * Return the line on the streams: each one's age.
 * @param {Stream[] | undefined} streams
 * @param {number} sinceMs since they were reported
 * @returns {Line}
 */
export function streamLine(streams, sinceMs) {
  const line = { name: "streams", term: "Streams" };
  if (streams === undefined || streams.length === 0) return { ...line, text: "none yet", holds: null };
  const texts = streams.map(({ kind, state, age_ms: ageMs }) => {
    const last = ageMs === null ? "nothing yet" : `${age(ageMs + Math.max(0, sinceMs))} ago`;
    return `${STREAMS[kind]} ${last}${state === "silent" ? " (silent)" : ""}`;
  });
  return { ...line, text: texts.join(", "), holds: streams.every(({ state }) => state !== "silent") };
}

/**
 * Return the line on the latency: how old what is on the screen usually is, and which part is slower than it should be.
 * @param {Pick<LatencyReport, "hops" | "over_budget"> | null} report
 * @returns {Line}
 */
export function latencyLine(report) {
  const line = { name: "latency", term: "Delay" };
  const parts = PARTS.flatMap(([name, words]) => {
    const hop = report?.hops.find((one) => one.hop === name);
    return hop === undefined || hop.p50_ms === null ? [] : [{ name, words, ms: hop.p50_ms, hop }];
  });
  if (report === null || parts.length === 0) return { ...line, text: "not measured yet", holds: null };
  const usual = parts.reduce((sum, { ms }) => sum + ms, 0);
  const slow = parts.filter(({ name }) => report.over_budget.includes(name));
  const most = parts.map(({ words, ms }) => `${length(ms)} ${words}`).join(", ");
  const slower = slow.map(({ words, hop }) => `${words}, at times ${length(hop.p99_ms ?? 0)}`).join("; ");
  const text = `a price is usually ${length(usual)} old when it is on the screen: ${most}`;
  return {
    ...line,
    text: slower === "" ? text : `${text}. Slower than it should be: ${slower}`,
    holds: slow.length === 0,
  };
}

/** @param {number} milliseconds */
function length(milliseconds) {
  return milliseconds < 1000
    ? `${fixed(milliseconds, milliseconds < 10 ? 1 : 0)} ms`
    : `${fixed(milliseconds / 1000, 1)} s`;
}

/**
 * Return the line on the store of candles.
 * @param {StoreReport | null} report
 * @returns {Line}
 */
export function storeLine(report) {
  const line = { name: "store", term: "Candle store" };
  if (report === null) return { ...line, text: "not asked yet", holds: null };
  const waiting = report.pending === 0 ? "none waits" : `${counted(report.pending, "candle waits", "candles wait")}`;
  if (report.ok) return { ...line, text: `${report.kind} stores every closed candle, ${waiting}`, holds: true };
  return { ...line, text: `not available, ${waiting}: ${report.detail}`, holds: false };
}

/**
 * Return the line on what is missing of today.
 * @param {Coverage | null} coverage
 * @returns {Line}
 */
export function gapLine(coverage) {
  const line = { name: "gaps", term: "Today (UTC)" };
  const today = coverage?.days[0];
  if (today === undefined || today.book.share === null) return { ...line, text: "not known yet", holds: null };
  const { book, candles } = today;
  const proven = `book live for ${percent(book.share)} of it${book.holes.length === 0 ? "" : `, ${holes(book)}`}`;
  const missing = candles.missing_minutes;
  const whole = missing === 0 ? "no minute missing" : `${counted(missing, "minute", "minutes")} missing`;
  return { ...line, text: `${proven}; ${whole}`, holds: book.holes.length === 0 && missing === 0 };
}

/** @param {DayCoverage["book"]} book */
function holes({ holes: found }) {
  const newest = found.at(-1);
  const last =
    newest === undefined ? "" : `, the last at ${newest.from.slice(11, 19)}: ${newest.reason || newest.cause}`;
  return `${counted(found.length, "gap", "gaps")}${last}`;
}

/** @param {number | null} share */
function percent(share) {
  const value = 100 * (share ?? 0);
  return `${fixed(value, value >= 99.995 ? 0 : 2)} %`;
}

/**
 * Return the line on the incidents, those of the symbol since the server was started.
 * @param {Pick<PanelModel, "view">} model
 * @returns {Line}
 */
export function incidentLine({ view }) {
  const line = { name: "incidents", term: "Incidents" };
  if (view === null) return { ...line, text: "none known", holds: null };
  const { incidents, silent_checks: silent } = view.proof;
  const found = incidents === 0 ? "none since the server started" : `${fixed(incidents, 0)} since the server started`;
  const quiet = silentText(silent);
  return { ...line, text: quiet === "" ? found : `${found}; ${quiet}`, holds: incidents === 0 && quiet === "" };
}
