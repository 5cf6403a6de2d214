// Texts of the order book's proof: the report of /api/proof as facts, sentences and incidents. Pure functions of what
// the server sent; they know no page and no clock.

import { age, counted, fixed, utcSecond } from "../format.js";
import { silentText, streamList } from "../streams.js";

/** @import {CandleMismatch, Incident, KnownRange, Level} from "../types.js" */
/** @import {Minute, ProofCounts, ProofReport, StreamReport, SymbolInfo} from "../types.js" */

/** @type {Record<string, string>} */
const CAUSES = {
  gap: "A gap in the depth updates",
  crossed: "Best bid and best ask crossed",
  touch: "Best bid and ask differed",
  top: "The best levels differed",
  whole: "The whole book differed from a snapshot",
  snapshot: "The exchange's snapshot was wrong",
  candle: "A candle differed",
};
const TOUCH_LABELS = ["Bid", "Ask"];
/** @type {[string, keyof Minute][]} */
const CANDLE_FIELDS = [
  ["Open", "open"],
  ["High", "high"],
  ["Low", "low"],
  ["Close", "close"],
  ["Volume", "volume"],
  ["Quote volume", "quote_volume"],
  ["Trades", "trade_count"],
  ["Taker buys", "taker_buy_volume"],
  ["Taker buys, quote", "taker_buy_quote_volume"],
  ["First trade", "first_trade_id"],
  ["Last trade", "last_trade_id"],
];

/** The decimals of a symbol's numbers, where they are known.
 * @typedef {Pick<SymbolInfo, "price_decimals" | "quantity_decimals"> | undefined} Decimals
 */

/**
 * Return the first sentence of the proof.
 * @param {Pick<ProofReport, "state" | "state_reason"> & {proof: Pick<ProofCounts, "silent_checks">}} report
 */
export function leadText({ state, state_reason: reason, proof }) {
  const silent = silentText(proof.silent_checks);
  if (state === "live" && silent !== "") return sentence(`This book is live, but not confirmed now: ${silent}`);
  if (state === "live")
    return "This book is live: no update is missing, the data is fresh, and every comparison agrees.";
  return sentence(`This book is not live: ${state}${reason ? `, ${reason}` : ""}`);
}

/**
 * Return the sentences on why there is no newer proof.
 * @param {string} reason
 * @param {string} readAt when the displayed one was read, "" when there is none
 * @param {number} everyMs how often it is requested
 */
export function errorText(reason, readAt, everyMs) {
  const text = `The proof could not be loaded. ${sentence(reason)} Trying again every ${everyMs / 1000} s.`;
  return readAt === "" ? text : `${text} The facts below are from ${readAt}.`;
}

/** @param {string} text */
function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** A fact's text; `holds` is null for "not known yet".
 * @typedef {{text: string, holds: boolean | null}} FactBody
 */

/** One line of the proof.
 * @typedef {FactBody & {name: string, term: string}} Fact
 */

/**
 * Return the facts of a proof in reading order.
 * @param {ProofReport} report
 * @param {Decimals} instrument
 * @returns {Fact[]}
 */
export function facts(report, instrument) {
  const { proof } = report;
  return [
    { name: "contiguous", term: "Depth updates", ...contiguous(report) },
    { name: "touch", term: "Best bid and ask", ...touch(proof) },
    { name: "top", term: "Best 20 levels", ...top(proof) },
    { name: "whole", term: "Whole book", ...audited(report) },
    { name: "window", term: "Known range", ...knownRange(report.window, report.last_update_id, instrument) },
    { name: "resyncs", term: "Resyncs", ...resynced(proof.resyncs) },
    { name: "streams", term: "Streams", ...streams(report.streams) },
  ];
}

/**
 * @param {ProofCounts} proof
 * @returns {FactBody}
 */
function touch(proof) {
  return compared(proof.touch_compared, proof.touch_equal, "bookTicker", proof.silent_checks.includes("touch"));
}

/**
 * @param {ProofCounts} proof
 * @returns {FactBody}
 */
function top(proof) {
  return compared(proof.top_compared, proof.top_equal, "partial depth", proof.silent_checks.includes("top"));
}

/**
 * @param {StreamReport[]} reports
 * @returns {FactBody}
 */
function streams(reports) {
  return { text: streamList(reports), holds: reports.every(({ state }) => state !== "silent") };
}

/**
 * @param {ProofReport} report
 * @returns {FactBody}
 */
function contiguous({ state, last_update_id: now, contiguous_since_id: since, diffs_applied: diffs, proof }) {
  if (now === 0) return { text: "no book yet", holds: null };
  const applied = counted(diffs, "update", "updates");
  const sinceMs = proof.contiguous_since_ms;
  if (sinceMs === 0 && state !== "live") {
    return {
      text: `not complete now: the last book ran from id ${since} to id ${now}, ${applied} applied`,
      holds: false,
    };
  }
  const time = sinceMs === 0 ? "" : `${utcSecond(sinceMs)} UTC, `;
  return { text: `complete since ${time}id ${since}; ${applied} applied, none missing, now at id ${now}`, holds: true };
}

/**
 * @param {number} total
 * @param {number} equal
 * @param {string} stream the exchange's stream that was compared with
 * @param {boolean} isSilent
 * @returns {FactBody}
 */
function compared(total, equal, stream, isSilent) {
  if (total === 0) return { text: "not compared yet", holds: null };
  const made = `${counted(total, "comparison", "comparisons")} with the exchange's ${stream} at the same update id`;
  if (equal === total && isSilent) return { text: `${made}: all equal, but it is silent now`, holds: null };
  if (equal === total) return { text: `${made}: all equal`, holds: true };
  return { text: `${made}: ${fixed(equal, 0)} equal, ${fixed(total - equal, 0)} different`, holds: false };
}

/**
 * @param {ProofReport} report
 * @returns {FactBody}
 */
function audited({ proof, audit_levels_compared: levels, audit_levels_differing: differing, audit_every_s: everyS }) {
  if (proof.audits === 0) {
    return { text: "not compared yet: each new snapshot of the exchange is compared level by level", holds: null };
  }
  const again = everyS === null ? "" : `; repeated every ${age(everyS * 1000)}`;
  const made = counted(proof.audits, "comparison with a snapshot", "comparisons with snapshots");
  const last = `the last at ${timeText(proof.audited_ms)}: ${levelsText(levels, differing)}`;
  const all = proof.audits === 1 ? "" : `; in total ${levelsText(proof.levels_compared, proof.levels_differing)}`;
  return { text: `${made}, ${last}${all}${again}`, holds: proof.levels_differing === 0 };
}

/**
 * @param {number} levels
 * @param {number} differing
 */
function levelsText(levels, differing) {
  const different = differing === 0 ? "none" : fixed(differing, 0);
  return `${counted(levels, "level", "levels")} compared, ${different} different`;
}

/**
 * @param {KnownRange} range
 * @param {number} lastUpdateId
 * @param {Decimals} instrument
 * @returns {FactBody}
 */
function knownRange(range, lastUpdateId, instrument) {
  if (lastUpdateId === 0) return { text: "no book yet", holds: null };
  const { bid_floor: floor, ask_ceiling: ceiling } = range;
  const bids = floor === null ? "bids: the whole side" : `bids from ${plain(floor, instrument?.price_decimals)} up`;
  const asks = ceiling === null ? "asks: the whole side" : `asks up to ${plain(ceiling, instrument?.price_decimals)}`;
  const levels = (/** @type {number} */ count) => counted(count, "level", "levels");
  return { text: `${bids}, ${levels(range.bid_levels)}; ${asks}, ${levels(range.ask_levels)}`, holds: null };
}

/**
 * @param {number} count
 * @returns {FactBody}
 */
function resynced(count) {
  if (count === 0) return { text: "none since the server started", holds: true };
  const times = counted(count, "time", "times");
  return { text: `${times} since the server started, the book was lost and rebuilt from a new snapshot`, holds: null };
}

/**
 * Return how many incidents there were, of the book and of candles, and how many of them are listed.
 * @param {{proof: Pick<ProofCounts, "incidents">, incidents: unknown[], candle_mismatches: unknown[]}} report
 */
export function incidentCountText({ proof, incidents, candle_mismatches: candles }) {
  const all = proof.incidents + candles.length;
  const listed = incidents.length + candles.length;
  if (all === 0) return "No incident since the server started";
  const text = `${counted(all, "incident", "incidents")} since the server started`;
  if (all > listed) return `${text}; the newest ${listed} are listed, newest first`;
  return all === 1 ? text : `${text}, newest first`;
}

/** One row of a comparison; `size` is "" where there is none.
 * @typedef {{label: string, price: string, size: string, differs: boolean}} VersionRow
 */

/** Our version or the exchange's.
 * @typedef {{name: "ours" | "theirs", caption: string, rows: VersionRow[]}} Version
 */

/** An incident as displayed; `versions` is empty where nothing can be compared.
 * @typedef {{cause: string, time: string, title: string, reason: string, versions: Version[]}} IncidentText
 */

/**
 * Return every listed incident, newest first.
 * @param {Pick<ProofReport, "incidents" | "candle_mismatches">} report
 * @param {Decimals} instrument
 */
export function incidentList({ incidents, candle_mismatches: candles }, instrument) {
  const texts = [
    ...incidents.map((incident) => ({ timeMs: incident.time_ms, text: incidentText(incident, instrument) })),
    ...candles.map((mismatch) => ({ timeMs: mismatch.time_ms, text: mismatchText(mismatch) })),
  ];
  return texts.sort((left, right) => right.timeMs - left.timeMs).map(({ text }) => text);
}

/**
 * Return a minute of which our candle and the exchange's differ, as an incident whose rows have no size.
 * @param {CandleMismatch} mismatch
 * @returns {IncidentText}
 */
export function mismatchText({ time_ms: timeMs, ours, theirs }) {
  /** @type {(candle: Minute, other: Minute) => VersionRow[]} */
  const rows = (candle, other) =>
    CANDLE_FIELDS.map(([label, field]) => ({
      label,
      price: String(candle[field]),
      size: "",
      differs: candle[field] !== other[field],
    }));
  return {
    cause: "candle",
    time: timeText(timeMs),
    title: CAUSES.candle,
    reason: `The minute of ${utcSecond(ours.open_time_ms)} UTC. The exchange's candle is the one that is stored.`,
    versions: versions(rows(ours, theirs), rows(theirs, ours)),
  };
}

/**
 * Return one incident of the book as displayed; the reason names the book's update id.
 * @param {Incident} incident
 * @param {Decimals} instrument
 * @returns {IncidentText}
 */
export function incidentText({ time_ms: timeMs, cause, reason, update_id: id, ours, theirs }, instrument) {
  const labels = cause === "touch" ? TOUCH_LABELS : [];
  /** @type {(levels: Level[], others: Level[]) => VersionRow[]} */
  const rows = (levels, others) =>
    levels.map(([price, quantity], at) => ({
      label: labels[at] ?? "",
      price: plain(price, instrument?.price_decimals),
      size: quantity === 0 ? "none" : plain(quantity, instrument?.quantity_decimals),
      differs: others[at]?.[0] !== price || others[at]?.[1] !== quantity,
    }));
  const namesId = id === 0 || reason.includes(String(id));
  return {
    cause,
    time: timeText(timeMs),
    title: CAUSES[cause] ?? cause,
    reason: namesId ? sentence(reason) : `${sentence(reason)} The book was at id ${id}.`,
    versions: ours.length + theirs.length > 0 ? versions(rows(ours, theirs), rows(theirs, ours)) : [],
  };
}

/**
 * @param {VersionRow[]} ours
 * @param {VersionRow[]} theirs
 * @returns {Version[]}
 */
function versions(ours, theirs) {
  return [
    { name: "ours", caption: "Ours", rows: ours },
    { name: "theirs", caption: "The exchange's", rows: theirs },
  ];
}

/** @param {number} milliseconds */
function timeText(milliseconds) {
  return milliseconds > 0 ? `${utcSecond(milliseconds)} UTC` : "an unknown time";
}

/**
 * Format a number with the symbol's decimals; without them it is written as it came.
 * @param {number} value
 * @param {number | null | undefined} decimals
 */
function plain(value, decimals) {
  return decimals === null || decimals === undefined ? String(value) : fixed(value, decimals);
}
