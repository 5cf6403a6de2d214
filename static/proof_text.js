// What a book can show for itself, in words: whether the shield may be full, and a certificate from the API as terms,
// sentences and incidents. Pure functions of what the server said; it knows no page and no clock.

import { counted, fixed, utcSecond } from "./format.js";

const CAUSES = {
  gap: "A gap in the diffs",
  crossed: "Best bid and best ask crossed",
  touch: "Best bid and ask differed",
  top: "The best levels differed",
  whole: "The whole book differed from a snapshot",
  snapshot: "The exchange's snapshot was at fault",
  candle: "A candle differed",
};
const TOUCH_LABELS = ["Bid", "Ask"];
const CANDLE_FIELDS = [
  ["Open", "open"],
  ["High", "high"],
  ["Low", "low"],
  ["Close", "close"],
  ["Volume", "volume"],
  ["Quote volume", "quote_volume"],
  ["Trades", "trade_count"],
  ["Bought", "taker_buy_volume"],
  ["Bought, quote", "taker_buy_quote_volume"],
  ["First trade", "first_trade_id"],
  ["Last trade", "last_trade_id"],
];

/**
 * What the witnesses had said when the book on the screen joined, as `{join, compared, differing}`; the same object
 * while that book goes on. Counters run from the server's start and span books, so only what was added since counts.
 * `known` is the baseline of the picture `before`; null for both starts one.
 */
export function baseline(known, before, picture) {
  const { proof } = picture;
  const join = `${picture.instance} ${proof.contiguous_since_ms} ${proof.resyncs}`;
  if (known !== null && known.join === join) return known;
  // Between books nothing is compared, so counts seen there are exact. A server that never lost a book has one book.
  if (before !== null && before.instance === picture.instance && before.proof.contiguous_since_ms === 0) {
    return { join, ...counts(before.proof) };
  }
  return before === null && proof.resyncs === 0 ? { join, compared: 0, differing: 0 } : { join, ...counts(proof) };
}

function counts({ touch_compared: touch, touch_equal: same, top_compared: top, top_equal: alike }) {
  return { compared: touch, differing: touch - same + (top - alike) };
}

/**
 * The shield: `{proven, words, reason}`. Full only when the page calls the newest picture live, its reader is looking
 * at it, and the exchange's own best bid and ask have been compared since the book joined, and nothing differed.
 */
export function shield({ verdict, paused, picture, joined }) {
  const hollow = (reason) => ({ proven: false, words: "Unproven", reason });
  if (paused !== null) return hollow("the picture is held");
  if (!verdict.trusted) return hollow(verdict.words);
  const { compared, differing } = counts(picture.proof);
  if (differing > joined.differing) return hollow("a witness differs");
  if (compared <= joined.compared) return hollow("no witness heard yet");
  return { proven: true, words: "Proven", reason: "" };
}

/** The certificate's first sentence. */
export function leadWords({ state, state_reason: reason }) {
  if (state === "live") return "This book is live: joined without a gap, fresh, and no witness speaks against it.";
  return sentence(`This book is not live: ${state}${reason ? `, ${reason}` : ""}`);
}

/** Why there is no newer certificate, as a sentence; `readAt` is when the one on the screen came, "" for none. */
export function troubleWords(reason, readAt, everyMs) {
  const said = `The certificate could not be read. ${sentence(reason)} Asking again every ${everyMs / 1000} s.`;
  return readAt === "" ? said : `${said} What stands below was read at ${readAt}.`;
}

function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** The certificate's facts in the order they are read: `{name, term, words, holds}`; `holds` is null for "not yet". */
export function factWords(certificate, instrument) {
  const { proof, window } = certificate;
  return [
    { name: "contiguous", term: "Contiguous", ...contiguous(certificate) },
    {
      name: "touch",
      term: "Best bid and ask",
      ...witnessed(proof.touch_compared, proof.touch_equal, "with the exchange's bookTicker, by id"),
    },
    {
      name: "top",
      term: "Best 20 levels",
      ...witnessed(proof.top_compared, proof.top_equal, "with the exchange's partial depth, by id"),
    },
    { name: "whole", term: "Whole book", ...audited(certificate) },
    { name: "window", term: "Known window", ...known(window, certificate.last_update_id, instrument) },
    { name: "resyncs", term: "Resyncs", ...resynced(proof.resyncs) },
  ];
}

function contiguous({ state, last_update_id: now, contiguous_since_id: since, diffs_applied: diffs, proof }) {
  if (now === 0) return { words: "no book yet", holds: null };
  const applied = counted(diffs, "diff", "diffs");
  const sinceMs = proof.contiguous_since_ms;
  if (sinceMs === 0 && state !== "live") {
    return { words: `not now: the last book ran from id ${since} to id ${now}, ${applied} applied`, holds: false };
  }
  const time = sinceMs === 0 ? "" : `${utcSecond(sinceMs)} UTC, `;
  return { words: `since ${time}id ${since}; ${applied} applied, none missing, now at id ${now}`, holds: true };
}

function witnessed(compared, equal, how) {
  if (compared === 0) return { words: "nothing compared yet", holds: null };
  const made = `${counted(compared, "comparison", "comparisons")} ${how}, since the start`;
  if (equal === compared) return { words: `${made}: all equal`, holds: true };
  return { words: `${made}: ${fixed(equal, 0)} equal, ${fixed(compared - equal, 0)} different`, holds: false };
}

function audited({ proof, audit_levels_compared: compared, audit_levels_differing: differing }) {
  if (proof.audits === 0) return { words: "no audit yet: each new snapshot is compared level by level", holds: null };
  const made = counted(proof.audits, "audit against a snapshot", "audits against snapshots");
  const last = `the last at ${momentWords(proof.audited_ms)}: ${levelsWords(compared, differing)}`;
  const all = proof.audits === 1 ? "" : `; in all ${levelsWords(proof.levels_compared, proof.levels_differing)}`;
  return { words: `${made}, ${last}${all}`, holds: proof.levels_differing === 0 };
}

function levelsWords(compared, differing) {
  const different = differing === 0 ? "none" : fixed(differing, 0);
  return `${counted(compared, "level", "levels")} compared, ${different} different`;
}

function known(window, lastUpdateId, instrument) {
  if (lastUpdateId === 0) return { words: "no book yet", holds: null };
  const { bid_floor: floor, ask_ceiling: ceiling } = window;
  const price = (value) => plain(value, instrument?.price_decimals);
  const bids = floor === null ? "bids: the whole side is known" : `bids from ${price(floor)} up`;
  const asks = ceiling === null ? "asks: the whole side is known" : `asks up to ${price(ceiling)}`;
  const levels = (count) => counted(count, "level", "levels");
  return { words: `${bids}, ${levels(window.bid_levels)}; ${asks}, ${levels(window.ask_levels)}`, holds: null };
}

function resynced(times) {
  if (times === 0) return { words: "none since the start", holds: true };
  const often = counted(times, "time", "times");
  return { words: `${often} since the start a trusted book was lost, to be joined anew`, holds: null };
}

/** How many incidents there were, of the book and of candles, and how many of them are told. */
export function incidentsWords({ proof, incidents, candle_mismatches: candles }) {
  const all = proof.incidents + candles.length;
  const told = incidents.length + candles.length;
  if (all === 0) return "No incident since the start";
  const words = `${counted(all, "incident", "incidents")} since the start`;
  if (all > told) return `${words}, the newest ${told} here, newest first`;
  return all === 1 ? words : `${words}, newest first`;
}

/** Every incident that is told, newest first, as `incidentWords` puts it. */
export function incidentList({ incidents, candle_mismatches: candles }, instrument) {
  const told = [
    ...incidents.map((incident) => [incident.time_ms, incidentWords(incident, instrument)]),
    ...candles.map((mismatch) => [mismatch.time_ms, mismatchWords(mismatch)]),
  ];
  return told.sort(([a], [b]) => b - a).map(([, words]) => words);
}

/** A minute of which ours and the exchange's accounts differ; the same shape, its rows without a size. */
export function mismatchWords({ time_ms: timeMs, ours, theirs }) {
  const rows = (candle, other) =>
    CANDLE_FIELDS.map(([label, field]) => ({
      label,
      price: String(candle[field]),
      size: "",
      differs: candle[field] !== other[field],
    }));
  return {
    cause: "candle",
    time: momentWords(timeMs),
    title: CAUSES.candle,
    reason: `The minute of ${utcSecond(ours.open_time_ms)} UTC. The exchange's account is the one that is kept.`,
    versions: [
      { name: "ours", caption: "Ours", rows: rows(ours, theirs) },
      { name: "theirs", caption: "The exchange's", rows: rows(theirs, ours) },
    ],
  };
}

/**
 * One incident: `{cause, time, title, reason, versions}`; the reason names the book's id. `versions` are the two
 * accounts as `{name, caption, rows: [{label, price, size, differs}]}`, ours first; empty where there are none.
 */
export function incidentWords({ time_ms: timeMs, cause, reason, update_id: id, ours, theirs }, instrument) {
  const labels = cause === "touch" ? TOUCH_LABELS : [];
  const rows = (levels, others) =>
    levels.map(([price, quantity], at) => ({
      label: labels[at] ?? "",
      price: plain(price, instrument?.price_decimals),
      size: quantity === 0 ? "none" : plain(quantity, instrument?.quantity_decimals),
      differs: others[at]?.[0] !== price || others[at]?.[1] !== quantity,
    }));
  const versions = [
    { name: "ours", caption: "Ours", rows: rows(ours, theirs) },
    { name: "theirs", caption: "The exchange's", rows: rows(theirs, ours) },
  ];
  return {
    cause,
    time: momentWords(timeMs),
    title: CAUSES[cause] ?? cause,
    reason: id === 0 || reason.includes(id) ? sentence(reason) : `${sentence(reason)} The book was at id ${id}.`,
    versions: ours.length + theirs.length > 0 ? versions : [],
  };
}

function momentWords(milliseconds) {
  return milliseconds > 0 ? `${utcSecond(milliseconds)} UTC` : "an unknown time";
}

// Without the symbol's decimals a number is written as it came.
function plain(value, decimals) {
  return decimals === undefined ? String(value) : fixed(value, decimals);
}
