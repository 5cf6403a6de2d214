// The line on delays.

import assert from "node:assert/strict";
import { test } from "node:test";

import { latencyTitle, latencyWords } from "../../static/panels/latency.js";

const REPORT = {
  hops: [
    { hop: "exchange", meaning: "there to here", p50_ms: 12.3, p99_ms: 45.6, budget_ms: 500 },
    { hop: "bus", meaning: "through the bus", p50_ms: 0.02, p99_ms: 12.5, budget_ms: 10 },
    { hop: "echo", meaning: "back", p50_ms: null, p99_ms: null, budget_ms: 1000 },
  ],
  over_budget: ["bus"],
  clock_offset_ms: -3.25,
  clock_error_ms: 4.5,
};

test("each hop that was measured is told, and the slow one is called slow", () => {
  assert.equal(latencyWords(REPORT), "Delay, p50/p99 ms: exchange 12/46 \u00b7 bus 0.0/13 (slow)");
});

test("before anything was measured there is nothing to tell", () => {
  assert.equal(latencyWords({ hops: [REPORT.hops[2]], over_budget: [] }), "");
});

test("the title says what the hops are and how good the clock is known", () => {
  assert.match(latencyTitle(REPORT), /bus: through the bus, p99 below 10 ms\n/);
  assert.match(latencyTitle(REPORT), /-?3\.\d ms ahead of the server's, known to 4\.5 ms$/);
  assert.match(latencyTitle({ ...REPORT, clock_error_ms: null }), /known from events alone$/);
});
