// The latency line.

import assert from "node:assert/strict";
import { test } from "node:test";

import { latencyText, latencyTitle } from "../../static/latency.js";

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

test("the line has the usual age of what the server sends, and names a step above its limit", () => {
  assert.equal(
    latencyText(REPORT),
    "Exchange to the server: about 12 ms \u00b7 slow: through the bus 12.5 ms, limit 10 ms",
  );
});

test("once a screen has reported, its delay counts too, and not twice", () => {
  const hops = ["exchange", "applied", "published", "bus", "socket", "echo"].map((hop) => ({
    hop,
    meaning: "",
    p50_ms: 20,
    p99_ms: 50,
    budget_ms: 500,
  }));

  assert.equal(latencyText({ hops, over_budget: [] }), "Exchange to the screen: about 80 ms");
});

test("there is no line before anything was measured", () => {
  assert.equal(latencyText({ hops: [REPORT.hops[2]], over_budget: [] }), "");
});

test("the title explains the steps, an unknown one by the server's name", () => {
  const title = latencyTitle(REPORT);

  assert.match(
    title,
    /\nfrom the exchange: event time to received; usually 12 ms, 99 of 100 within 46 ms; limit 500 ms\n/,
  );
  assert.match(title, /\nnew: a step this page does not know; usually not measured, /);
});

test("the title says how exactly the exchange's clock is known", () => {
  assert.match(latencyTitle(REPORT), /3\.\d ms ahead of the server's, measured to 4\.5 ms\.$/);
  assert.match(latencyTitle({ ...REPORT, clock_error_ms: null }), /estimated from event times\.$/);
});
