// The latency line.

import assert from "node:assert/strict";
import { test } from "node:test";

import { latencyText, latencyTitle } from "../../static/panels/latency.js";

const REPORT = {
  hops: [
    { hop: "exchange", meaning: "event time to received", p50_ms: 12.3, p99_ms: 45.6, budget_ms: 500 },
    { hop: "bus", meaning: "through the bus", p50_ms: 0.02, p99_ms: 12.5, budget_ms: 10 },
    { hop: "new", meaning: "a step this page does not know", p50_ms: null, p99_ms: null, budget_ms: 1000 },
  ],
  over_budget: ["bus"],
  clock_offset_ms: -3.25,
  clock_error_ms: 4.5,
};

test("each measured step has its delays, and one above its limit names the limit", () => {
  assert.equal(latencyText(REPORT), "Latency p50/p99, ms: exchange 12/46 \u00b7 bus 0.0/12.5 (limit 10)");
});

test("there is no line before anything was measured", () => {
  assert.equal(latencyText({ hops: [REPORT.hops[2]], over_budget: [] }), "");
});

test("the title explains the steps, an unknown one by the server's name", () => {
  assert.match(latencyTitle(REPORT), /^exchange: event time to received; p99 limit 500 ms\n/);
  assert.match(latencyTitle(REPORT), /\nnew: a step this page does not know; /);
});

test("the title says how exactly the exchange's clock is known", () => {
  assert.match(latencyTitle(REPORT), /3\.\d ms ahead of the server's, measured to 4\.5 ms\.$/);
  assert.match(latencyTitle({ ...REPORT, clock_error_ms: null }), /estimated from event times\.$/);
});
