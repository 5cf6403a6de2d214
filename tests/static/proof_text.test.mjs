// When the shield is full, and the proof as text.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  errorText,
  facts,
  incidentCountText,
  incidentList,
  incidentText,
  leadText,
} from "../../static/dialogs/proof_text.js";
import { baseline, shield } from "../../static/shield.js";
import { PROOF as NO_PROOF, BTC } from "./support.mjs";

/** @import {Incident, Minute, ProofCounts, ProofReport} from "../../static/types.js" */

/** @type {ProofCounts} */
const PROOF = {
  ...NO_PROOF,
  contiguous_since_ms: 1723161254206,
  touch_compared: 5575,
  touch_equal: 5575,
  top_compared: 60,
  top_equal: 60,
};
const LIVE = { trusted: true, text: "Live" };

/** @param {Partial<ProofCounts>} change */
function proven(change = {}, instance = "aaaaaaaa") {
  return { instance, proof: { ...PROOF, ...change } };
}

/**
 * @param {Partial<ProofReport>} change
 * @param {Partial<ProofCounts>} proof
 * @returns {ProofReport}
 */
function report(change = {}, proof = {}) {
  return {
    symbol: "BTCUSDT",
    state: "live",
    state_reason: "",
    last_update_id: 900,
    contiguous_since_id: 100,
    diffs_applied: 4711,
    window: { bid_floor: 61631.55, ask_ceiling: 62010.1, bid_levels: 1000, ask_levels: 999 },
    proof: { ...PROOF, ...proof },
    audit_levels_compared: 0,
    audit_levels_differing: 0,
    audit_every_s: null,
    incidents: [],
    candle_mismatches: [],
    streams: [],
    ...change,
  };
}

/**
 * @param {string} name
 * @param {Partial<ProofReport>} change
 * @param {Partial<ProofCounts>} proof
 */
function fact(name, change = {}, proof = {}) {
  const found = facts(report(change, proof), BTC).find((one) => one.name === name);
  if (found === undefined) throw new Error(`expected a fact named ${name}`);
  return found;
}

// ---- the shield

test("the shield is full when the book is live, compared since it was joined, and all was equal", () => {
  const joined = baseline(null, null, proven());

  assert.deepEqual(shield({ status: LIVE, paused: null, view: proven(), joined }), {
    isVerified: true,
    text: "Verified",
    reason: "",
  });
});

test("a book that is not live is not verified, with the status as its reason", () => {
  const status = { trusted: false, text: "Syncing: waiting for a snapshot" };
  const joined = baseline(null, null, proven());

  assert.deepEqual(shield({ status, paused: null, view: proven(), joined }), {
    isVerified: false,
    text: "Not verified",
    reason: "Syncing: waiting for a snapshot",
  });
  assert.equal(shield({ status, paused: null, view: null, joined: null }).isVerified, false);
});

test("a paused display is not verified", () => {
  const joined = baseline(null, null, proven());

  assert.deepEqual(shield({ status: LIVE, paused: { wasTrusted: true }, view: proven(), joined }), {
    isVerified: false,
    text: "Was verified",
    reason: "when the display was paused",
  });
  const before = shield({ status: LIVE, paused: { wasTrusted: false }, view: proven(), joined });
  assert.deepEqual([before.text, before.reason], ["Not verified", "not live, when the display was paused"]);
});

test("a live book that was not compared yet is not verified", () => {
  const view = proven({ touch_compared: 0, touch_equal: 0, top_compared: 0, top_equal: 0 });
  const { isVerified, reason } = shield({ status: LIVE, paused: null, view, joined: baseline(null, null, view) });

  assert.deepEqual([isVerified, reason], [false, "not compared with the exchange's quotes yet"]);
});

test("comparisons of one book do not count for the next one", () => {
  const lost = proven({ contiguous_since_ms: 0, resyncs: 1, touch_compared: 6000, touch_equal: 5999 });
  const rebuilt = proven({ contiguous_since_ms: 9, resyncs: 1, touch_compared: 6000, touch_equal: 5999 });
  const compared = proven({ contiguous_since_ms: 9, resyncs: 1, touch_compared: 6001, touch_equal: 6000 });
  const before = baseline(baseline(null, null, proven()), proven(), lost);
  const joined = baseline(before, lost, rebuilt);
  const judged = (/** @type {typeof lost} */ view) =>
    shield({ status: LIVE, paused: null, view, joined: baseline(joined, rebuilt, view) });

  assert.equal(judged(rebuilt).reason, "not compared with the exchange's quotes yet");
  assert.equal(judged(compared).isVerified, true);
});

test("a check whose stream is silent empties the shield and is named", () => {
  const joined = baseline(null, null, proven());
  /** @type {import("../../static/types.js").Check[]} */
  const silent = ["touch", "top"];
  const view = proven({ touch_compared: 5580, touch_equal: 5580, silent_checks: silent });
  const { isVerified, reason } = shield({ status: LIVE, paused: null, view, joined });

  assert.equal(isVerified, false);
  assert.equal(reason, "the exchange's bookTicker and partial depth are silent");
  assert.equal(
    leadText(report({}, { silent_checks: ["touch"] })),
    "This book is live, but not confirmed now: the exchange's bookTicker is silent.",
  );
});

test("the facts say which comparison confirms nothing now, and list the streams", () => {
  /** @type {import("../../static/types.js").StreamReport[]} */
  const streams = [
    { kind: "depth", state: "live", age_ms: 40, usual_ms: 100, reason: "" },
    { kind: "bookTicker", state: "silent", age_ms: 7_000, usual_ms: 20, reason: "the best bid and ask have changed" },
  ];
  const found = facts(report({ streams }, { silent_checks: ["touch"] }), undefined);
  const byName = new Map(found.map((fact) => [fact.name, fact]));

  assert.equal(byName.get("touch")?.holds, null);
  assert.match(byName.get("touch")?.text ?? "", /all equal, but it is silent now$/);
  assert.equal(byName.get("top")?.holds, true);
  assert.equal(byName.get("streams")?.holds, false);
  assert.equal(
    byName.get("streams")?.text,
    "depth <1 s ago, usually every 100 ms; bookTicker 7 s ago, usually every 20 ms, silent: the best bid and ask have changed",
  );
});

test("a difference since the book was joined empties the shield", () => {
  const joined = baseline(null, null, proven());
  const view = proven({ top_compared: 61, top_equal: 60 });
  const { isVerified, reason } = shield({ status: LIVE, paused: null, view, joined: baseline(joined, proven(), view) });

  assert.deepEqual([isVerified, reason], [false, "differs from the exchange's own quotes"]);
});

test("a page that opens after a resync counts from its first view", () => {
  const joined = baseline(null, null, proven({ resyncs: 2, touch_equal: 5573 }));

  assert.deepEqual([joined.compared, joined.differing], [5575, 2]);
});

test("another process has another book, even one that was joined at the same moment", () => {
  const joined = baseline(null, null, proven());

  assert.equal(baseline(joined, proven(), proven()), joined);
  assert.notEqual(baseline(joined, proven(), proven({}, "bbbbbbbb")), joined);
});

// ---- the proof

test("the lead says whether the book is live, and why not", () => {
  assert.match(leadText(report()), /^This book is live: /);
  const syncing = report({ state: "syncing", state_reason: "waiting for a snapshot" });
  assert.equal(leadText(syncing), "This book is not live: syncing, waiting for a snapshot.");
  assert.equal(leadText(report({ state: "stale" })), "This book is not live: stale.");
});

test("a proof that cannot be loaded has the reason, the next attempt, and the time of the displayed one", () => {
  assert.equal(
    errorText("The server cannot be reached", "", 2_000),
    "The proof could not be loaded. The server cannot be reached. Trying again every 2 s.",
  );
  assert.match(errorText("x.", "12:00:00 UTC", 2_000), / X\. .* The facts below are from 12:00:00 UTC\.$/);
});

test("a complete book has the time, the id and the number of updates", () => {
  assert.deepEqual(fact("contiguous"), {
    name: "contiguous",
    term: "Depth updates",
    holds: true,
    text: "complete since 2024-08-08 23:54:14 UTC, id 100; 4,711 updates applied, none missing, now at id 900",
  });
});

test("a lost book is not called complete", () => {
  const lost = fact("contiguous", { state: "syncing" }, { contiguous_since_ms: 0 });

  assert.equal(lost.text, "not complete now: the last book ran from id 100 to id 900, 4,711 updates applied");
  assert.equal(lost.holds, false);
});

test("a book that never existed has no facts", () => {
  assert.equal(fact("contiguous", { last_update_id: 0, state: "syncing" }).text, "no book yet");
  assert.equal(fact("window", { last_update_id: 0, state: "syncing" }).text, "no book yet");
});

test("comparisons are counted, equal or different", () => {
  assert.match(fact("touch").text, /^5,575 comparisons with the exchange's bookTicker .*: all equal$/);
  assert.match(fact("top", {}, { top_equal: 59 }).text, /^60 comparisons .*partial depth.*: 59 equal, 1 different$/);
  assert.equal(fact("top", {}, { top_equal: 59 }).holds, false);
  assert.equal(fact("touch", {}, { touch_compared: 0, touch_equal: 0 }).text, "not compared yet");
});

test("comparisons with snapshots name the last one and the total", () => {
  const audits = { audits: 3, audited_ms: 1723161255208, levels_compared: 9000, levels_differing: 1 };
  const many = fact("whole", { audit_levels_compared: 3000, audit_every_s: 1500 }, audits);
  const one = fact("whole", { audit_levels_compared: 10 }, { ...audits, audits: 1, levels_differing: 0 });

  assert.equal(
    many.text,
    "3 comparisons with snapshots, the last at 2024-08-08 23:54:15 UTC: 3,000 levels compared, none different; " +
      "in total 9,000 levels compared, 1 different; repeated every 25 min 00 s",
  );
  assert.equal(many.holds, false);
  assert.equal(one.holds, true);
  assert.match(one.text, /^1 comparison with a snapshot, .* 10 levels compared, none different$/);
  assert.match(fact("whole").text, /^not compared yet/);
});

test("the known range has both ends, and a side without an end is wholly known", () => {
  assert.equal(fact("window").text, "bids from 61,631.55 up, 1,000 levels; asks up to 62,010.10, 999 levels");
  const window = { bid_floor: null, ask_ceiling: null, bid_levels: 1, ask_levels: 2 };
  assert.equal(fact("window", { window }).text, "bids: the whole side, 1 level; asks: the whole side, 2 levels");
});

test("prices of a symbol without known decimals are written as they came", () => {
  const undescribed = { price_decimals: null, quantity_decimals: null };
  const range = facts(report(), undescribed).find(({ name }) => name === "window");

  assert.match(range?.text ?? "", /^bids from 61631\.55 up/);
});

test("resyncs are counted", () => {
  assert.equal(fact("resyncs").text, "none since the server started");
  assert.match(fact("resyncs", {}, { resyncs: 2 }).text, /^2 times since the server started, /);
});

// ---- incidents

test("incidents are counted, also those the server no longer lists", () => {
  const count = (/** @type {number} */ listed, /** @type {number} */ all) =>
    incidentCountText({ proof: { incidents: all }, incidents: Array.from({ length: listed }), candle_mismatches: [] });

  assert.equal(count(0, 0), "No incident since the server started");
  assert.equal(count(1, 1), "1 incident since the server started");
  assert.equal(count(2, 63), "63 incidents since the server started; the newest 2 are listed, newest first");
});

/** @type {Minute} */
const MINUTE = {
  open_time_ms: 1723161600000,
  open: 1,
  high: 2,
  low: 0.5,
  close: 1.5,
  volume: 7,
  quote_volume: 9,
  trade_count: 3,
  taker_buy_volume: 4,
  taker_buy_quote_volume: 5,
  first_trade_id: 10,
  last_trade_id: 12,
};

/** @type {Incident} */
const INCIDENT = { time_ms: 1, cause: "gap", reason: "r", update_id: 0, ours: [], theirs: [] };

test("a candle that differed is an incident with both versions", () => {
  const mismatch = { time_ms: 1723161665000, ours: MINUTE, theirs: { ...MINUTE, volume: 8 } };
  const [incident] = incidentList(report({ candle_mismatches: [mismatch] }), undefined);

  assert.equal(incident.title, "A candle differed");
  assert.match(incident.reason, /^The minute of 2024-08-09 00:00:00 UTC\./);
  assert.deepEqual(
    incident.versions[1].rows.filter(({ differs }) => differs),
    [{ label: "Volume", price: "8", size: "", differs: true }],
  );
  assert.equal(incidentCountText(report({ candle_mismatches: [mismatch] })), "1 incident since the server started");
});

test("incidents of book and candles are sorted by time, newest first", () => {
  const candle = (/** @type {number} */ timeMs) => ({ time_ms: timeMs, ours: MINUTE, theirs: MINUTE });
  const incidents = [{ ...INCIDENT, time_ms: 2 }];
  const list = incidentList(report({ incidents, candle_mismatches: [candle(3), candle(1)] }), undefined);

  assert.deepEqual(
    list.map(({ cause }) => cause),
    ["candle", "gap", "candle"],
  );
});

test("an incident at the best prices has both versions, and marks the side that differs", () => {
  const incident = incidentText(
    {
      time_ms: 1723161255208,
      cause: "touch",
      reason: "best bid and ask differ at id 70",
      update_id: 70,
      ours: [
        [61837.63, 3.5],
        [61837.64, 1],
      ],
      theirs: [
        [61837.63, 3.5],
        [61837.7, 1],
      ],
    },
    BTC,
  );

  assert.equal(incident.time, "2024-08-08 23:54:15 UTC");
  assert.equal(incident.title, "Best bid and ask differed");
  assert.equal(incident.reason, "Best bid and ask differ at id 70.");
  assert.deepEqual(
    incident.versions.map(({ caption }) => caption),
    ["Ours", "The exchange's"],
  );
  assert.deepEqual(incident.versions[1].rows, [
    { label: "Bid", price: "61,837.63", size: "3.50000", differs: false },
    { label: "Ask", price: "61,837.70", size: "1.00000", differs: true },
  ]);
});

test("a level that one version lacks has no size", () => {
  const incident = { ...INCIDENT, time_ms: 0, cause: "whole", ours: [[1.5, 0]], theirs: [[1.5, 0.25]] };
  const text = incidentText(/** @type {Incident} */ (incident), undefined);

  assert.deepEqual(
    text.versions.map(({ rows }) => [rows[0].price, rows[0].size]),
    [
      ["1.5", "none"],
      ["1.5", "0.25"],
    ],
  );
  assert.deepEqual([text.time, text.reason, text.versions[0].rows[0].label], ["an unknown time", "R.", ""]);
});

test("an incident without levels has no versions, and an unknown cause is its own title", () => {
  const text = incidentText({ ...INCIDENT, cause: "moon", update_id: 1 }, BTC);

  assert.deepEqual([text.title, text.versions], ["moon", []]);
  assert.equal(text.reason, "R. The book was at id 1.");
});
