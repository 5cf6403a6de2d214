// What the health panel says.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  gapLine,
  incidentLine,
  latencyLine,
  proofLine,
  storeLine,
  streamLine,
} from "../../static/panels/health/text.js";
import { baseline } from "../../static/shield.js";
import { PROOF, view } from "./support.mjs";

/** @import {Hop} from "../../static/types.js" */

const LIVE = { kind: /** @type {const} */ ("live"), text: "Live", hasAge: false, ageMs: 0, trusted: true };

/**
 * @param {string} hop
 * @param {number | null} p50
 * @returns {Hop}
 */
function hop(hop, p50) {
  return { hop, meaning: "", budget_ms: 500, p50_ms: p50, p99_ms: p50 === null ? null : 4 * p50 };
}

test("the book is verified by comparisons, or it is said why it is not", () => {
  const shown = view({ proof: { ...PROOF, touch_compared: 4_000, touch_equal: 4_000 } });
  const joined = baseline(null, null, view());
  const model = { status: LIVE, paused: null, view: shown, joined };
  assert.deepEqual(proofLine(model).text, "verified: 4,000 comparisons with the exchange's own best prices, all equal");
  const stale = { ...LIVE, kind: /** @type {const} */ ("stale"), text: "Stale: no update for 9 s", trusted: false };
  const line = proofLine({ ...model, status: stale });

  assert.deepEqual([line.text, line.holds], ["not verified: Stale: no update for 9 s", false]);
  assert.equal(proofLine({ ...model, view: null }).holds, null);
});

test("each stream has its age, which goes on", () => {
  const streams = [
    { kind: /** @type {const} */ ("depth"), state: /** @type {const} */ ("live"), age_ms: 500 },
    { kind: /** @type {const} */ ("trade"), state: /** @type {const} */ ("silent"), age_ms: null },
  ];

  assert.deepEqual(streamLine(streams, 3_000).text, "order book 3 s ago, trades nothing yet (silent)");
  assert.equal(streamLine(streams, 0).holds, false);
  assert.equal(streamLine([], 0).holds, null);
});

test("the delay is the sum of the steps that follow each other", () => {
  const hops = [hop("exchange", 40), hop("applied", 0.5), hop("published", 60), hop("bus", 9), hop("echo", null)];
  const line = latencyLine({ hops, over_budget: [] });
  assert.ok(line.text.startsWith("a price is usually 101 ms old when it is on the screen: 40 ms from the exchange"));
  assert.equal(line.holds, true);
  const slow = latencyLine({ hops: [hop("exchange", 900)], over_budget: ["exchange", "bus"] });

  assert.ok(slow.text.endsWith("Slower than it should be: from the exchange to this server, at times 3.6 s"));
  assert.equal(slow.holds, false);
  assert.equal(latencyLine(null).holds, null);
});

test("the store, what is missing of today, and the incidents have a sentence each", () => {
  assert.equal(
    storeLine({ kind: "sqlite", ok: true, detail: "", pending: 0 }).text,
    "sqlite stores every closed candle, none waits",
  );
  const away = storeLine({ kind: "postgres", ok: false, detail: "connection refused", pending: 3 });
  assert.deepEqual([away.text, away.holds], ["not available, 3 candles wait: connection refused", false]);
  const hole = {
    from: "2026-11-30T09:12:03.120000+00:00",
    to: "",
    cause: "offline",
    reason: "the connection was lost",
  };
  const day = { day: "2026-11-30", until: "", book: { share: 0.9997, holes: [hole] } };
  const gaps = gapLine({ symbol: "A", days: [{ ...day, candles: { share: 1, missing_minutes: 0, holes: [] } }] });
  assert.equal(
    gaps.text,
    "book live for 99.97 % of it, 1 gap, the last at 09:12:03: the connection was lost; no minute missing",
  );
  assert.equal(gaps.holds, false);
  assert.equal(gapLine(null).holds, null);
  assert.deepEqual(incidentLine({ view: view() }).text, "none since the server started");
  assert.equal(incidentLine({ view: view({ proof: { ...PROOF, incidents: 2 } }) }).holds, false);
});
