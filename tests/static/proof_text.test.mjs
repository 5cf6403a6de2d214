// When the shield may be full, and a certificate in words.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  baseline,
  factWords,
  incidentList,
  incidentsWords,
  incidentWords,
  leadWords,
  shield,
  troubleWords,
} from "../../static/proof_text.js";

const PROOF = {
  contiguous_since_ms: 1723161254206,
  touch_compared: 5575,
  touch_equal: 5575,
  top_compared: 60,
  top_equal: 60,
  audits: 0,
  audited_ms: 0,
  levels_compared: 0,
  levels_differing: 0,
  resyncs: 0,
  incidents: 0,
};
const BTC = { price_decimals: 2, quantity_decimals: 5 };
const LIVE = { trusted: true, words: "Live" };

function picture(change = {}, instance = "aaaaaaaa") {
  return { instance, proof: { ...PROOF, ...change } };
}

function certificate(change = {}, proof = {}) {
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
    incidents: [],
    candle_mismatches: [],
    ...change,
  };
}

function fact(name, change, proof) {
  return factWords(certificate(change, proof), BTC).find((known) => known.name === name);
}

// ---- the shield

test("the shield is full when live, compared since the book joined, and all equal", () => {
  const joined = baseline(null, null, picture());

  assert.deepEqual(shield({ verdict: LIVE, paused: null, picture: picture(), joined }), {
    proven: true,
    words: "Proven",
    reason: "",
  });
});

test("a picture that is not live is unproven for the state's own reason", () => {
  const verdict = { trusted: false, words: "Syncing: waiting for a snapshot" };
  const said = shield({ verdict, paused: null, picture: picture(), joined: baseline(null, null, picture()) });

  assert.deepEqual(said, { proven: false, words: "Unproven", reason: "Syncing: waiting for a snapshot" });
  assert.equal(shield({ verdict, paused: null, picture: null, joined: null }).proven, false);
});

test("a held picture is not proven, whatever arrives behind it", () => {
  const joined = baseline(null, null, picture());

  assert.equal(
    shield({ verdict: LIVE, paused: { atMs: 1 }, picture: picture(), joined }).reason,
    "the picture is held",
  );
});

test("a live book that no witness has spoken of yet is unproven", () => {
  const mute = picture({ touch_compared: 0, touch_equal: 0, top_compared: 0, top_equal: 0 });
  const said = shield({ verdict: LIVE, paused: null, picture: mute, joined: baseline(null, null, mute) });

  assert.deepEqual([said.proven, said.reason], [false, "no witness heard yet"]);
});

test("what was said of the book before proves nothing about the one that follows", () => {
  const lost = picture({ contiguous_since_ms: 0, resyncs: 1, touch_compared: 6000, touch_equal: 5999 });
  const anew = picture({ contiguous_since_ms: 9, resyncs: 1, touch_compared: 6000, touch_equal: 5999 });
  const heard = picture({ contiguous_since_ms: 9, resyncs: 1, touch_compared: 6001, touch_equal: 6000 });
  const before = baseline(baseline(null, null, picture()), picture(), lost);
  const joined = baseline(before, lost, anew);
  const judged = (shown) =>
    shield({ verdict: LIVE, paused: null, picture: shown, joined: baseline(joined, anew, shown) });

  assert.equal(judged(anew).reason, "no witness heard yet");
  assert.equal(judged(heard).proven, true);
});

test("a difference since the book joined empties the shield", () => {
  const joined = baseline(null, null, picture());
  const differs = picture({ top_compared: 61, top_equal: 60 });
  const said = shield({ verdict: LIVE, paused: null, picture: differs, joined: baseline(joined, picture(), differs) });

  assert.deepEqual([said.proven, said.reason], [false, "a witness differs"]);
});

test("a page that opens on a book that was lost before counts from what it sees", () => {
  const joined = baseline(null, null, picture({ resyncs: 2, touch_equal: 5573 }));

  assert.deepEqual([joined.compared, joined.differing], [5575, 2]);
});

test("another process has another book, even one that joined at the same moment", () => {
  const joined = baseline(null, null, picture());

  assert.equal(baseline(joined, picture(), picture()), joined);
  assert.notEqual(baseline(joined, picture(), picture({}, "bbbbbbbb")), joined);
});

// ---- the certificate

test("the lead says whether the book is live, and why not", () => {
  assert.match(leadWords(certificate()), /^This book is live: /);
  const syncing = certificate({ state: "syncing", state_reason: "waiting for a snapshot" });
  assert.equal(leadWords(syncing), "This book is not live: syncing, waiting for a snapshot.");
  assert.equal(leadWords(certificate({ state: "stale" })), "This book is not live: stale.");
});

test("trouble with the API is a sentence, and says how old what stands there is", () => {
  assert.equal(
    troubleWords("The server cannot be reached", "", 2_000),
    "The certificate could not be read. The server cannot be reached. Asking again every 2 s.",
  );
  assert.match(troubleWords("x.", "12:00:00 UTC", 2_000), / X\. .* What stands below was read at 12:00:00 UTC\.$/);
});

test("contiguous names the time, the id and the diffs", () => {
  assert.deepEqual(fact("contiguous"), {
    name: "contiguous",
    term: "Contiguous",
    holds: true,
    words: "since 2024-08-08 23:54:14 UTC, id 100; 4,711 diffs applied, none missing, now at id 900",
  });
});

test("a lost book is not called contiguous, and one that never was is said to be missing", () => {
  const lost = fact("contiguous", { state: "syncing" }, { contiguous_since_ms: 0 });

  assert.equal(lost.words, "not now: the last book ran from id 100 to id 900, 4,711 diffs applied");
  assert.equal(lost.holds, false);
  assert.equal(fact("contiguous", { last_update_id: 0, state: "syncing" }).words, "no book yet");
  assert.equal(fact("window", { last_update_id: 0, state: "syncing" }).words, "no book yet");
});

test("a witness is counted, equal or different", () => {
  assert.match(fact("touch").words, /^5,575 comparisons with the exchange's bookTicker, .*: all equal$/);
  assert.match(fact("top", {}, { top_equal: 59 }).words, /^60 comparisons .*partial depth.*: 59 equal, 1 different$/);
  assert.equal(fact("top", {}, { top_equal: 59 }).holds, false);
  assert.deepEqual(fact("touch", {}, { touch_compared: 0, touch_equal: 0 }).words, "nothing compared yet");
});

test("audits name the last one and all of them together", () => {
  const audits = { audits: 3, audited_ms: 1723161255208, levels_compared: 9000, levels_differing: 1 };
  const many = fact("whole", { audit_levels_compared: 3000 }, audits);
  const one = fact("whole", { audit_levels_compared: 10 }, { ...audits, audits: 1, levels_differing: 0 });

  assert.equal(
    many.words,
    "3 audits against snapshots, the last at 2024-08-08 23:54:15 UTC: 3,000 levels compared, none different; " +
      "in all 9,000 levels compared, 1 different",
  );
  assert.equal(many.holds, false);
  assert.equal(one.holds, true);
  assert.match(one.words, /^1 audit against a snapshot, .* 10 levels compared, none different$/);
  assert.match(fact("whole").words, /^no audit yet/);
});

test("the window names both ends, and a side without an end is wholly known", () => {
  assert.equal(fact("window").words, "bids from 61,631.55 up, 1,000 levels; asks up to 62,010.10, 999 levels");
  const window = { bid_floor: null, ask_ceiling: null, bid_levels: 1, ask_levels: 2 };
  assert.equal(
    fact("window", { window }).words,
    "bids: the whole side is known, 1 level; asks: the whole side is known, 2 levels",
  );
});

test("resyncs are counted", () => {
  assert.equal(fact("resyncs").words, "none since the start");
  assert.match(fact("resyncs", {}, { resyncs: 2 }).words, /^2 times since the start /);
});

// ---- incidents

test("incidents are counted, also those the server no longer tells", () => {
  assert.equal(incidentsWords(certificate()), "No incident since the start");
  assert.equal(incidentsWords(certificate({ incidents: [{}] }, { incidents: 1 })), "1 incident since the start");
  const many = certificate({ incidents: [{}, {}] }, { incidents: 63 });
  assert.equal(incidentsWords(many), "63 incidents since the start, the newest 2 here, newest first");
});

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

test("a candle that differed stands among the incidents, with both accounts", () => {
  const mismatch = { time_ms: 1723161665000, ours: MINUTE, theirs: { ...MINUTE, volume: 8 } };
  const [newest] = incidentList(certificate({ candle_mismatches: [mismatch] }), undefined);
  assert.equal(newest.title, "A candle differed");
  assert.match(newest.reason, /^The minute of 2024-08-09 00:00:00 UTC\./);
  assert.deepEqual(
    newest.versions[1].rows.filter(({ differs }) => differs),
    [{ label: "Volume", price: "8", size: "", differs: true }],
  );
  assert.equal(incidentsWords(certificate({ candle_mismatches: [mismatch] })), "1 incident since the start");
});

test("incidents of book and candles are told in the order of their time", () => {
  const book = { time_ms: 2, cause: "gap", reason: "x", update_id: 0, ours: [], theirs: [] };
  const candle = (timeMs) => ({ time_ms: timeMs, ours: MINUTE, theirs: MINUTE });
  const told = incidentList(certificate({ incidents: [book], candle_mismatches: [candle(3), candle(1)] }), undefined);
  assert.deepEqual(
    told.map(({ cause }) => cause),
    ["candle", "gap", "candle"],
  );
});

test("an incident at the touch shows both versions, and which side differs", () => {
  const told = incidentWords(
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

  assert.equal(told.time, "2024-08-08 23:54:15 UTC");
  assert.equal(told.title, "Best bid and ask differed");
  assert.equal(told.reason, "Best bid and ask differ at id 70.");
  assert.deepEqual(
    told.versions.map(({ caption }) => caption),
    ["Ours", "The exchange's"],
  );
  assert.deepEqual(told.versions[1].rows, [
    { label: "Bid", price: "61,837.63", size: "3.50000", differs: false },
    { label: "Ask", price: "61,837.70", size: "1.00000", differs: true },
  ]);
});

test("a level that one version lacks has no size, and an unknown symbol keeps its numbers as they came", () => {
  const incident = { time_ms: 0, cause: "whole", reason: "r", update_id: 0, ours: [[1.5, 0]], theirs: [[1.5, 0.25]] };
  const told = incidentWords(incident, undefined);

  assert.deepEqual(
    told.versions.map(({ rows }) => [rows[0].price, rows[0].size]),
    [
      ["1.5", "none"],
      ["1.5", "0.25"],
    ],
  );
  assert.deepEqual([told.time, told.reason, told.versions[0].rows[0].label], ["an unknown time", "R.", ""]);
});

test("an incident without levels has no versions, and an unknown cause stands as it is", () => {
  const told = incidentWords({ time_ms: 1, cause: "moon", reason: "r", update_id: 1, ours: [], theirs: [] }, BTC);

  assert.deepEqual([told.title, told.versions], ["moon", []]);
  assert.equal(told.reason, "R. The book was at id 1.");
});
