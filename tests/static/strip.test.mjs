// The header's texts.

import assert from "node:assert/strict";
import { test } from "node:test";

import { instanceText, serverText, titleText } from "../../static/strip.js";
import { BTC, trades, view } from "./support.mjs";

test("the instance that made the view is named with its venue", () => {
  assert.equal(instanceText({ instance: "413fbbbb", venue: "us" }), "Instance 413fbbbb, venue us");
  assert.equal(instanceText(null), "");
});

test("the title has the price of the selected symbol, and a mark unless it is live", () => {
  const model = {
    view: view(),
    instrument: BTC,
    trades: trades(7),
    status: { kind: /** @type {const} */ ("live"), text: "Live", hasAge: false, ageMs: 0, trusted: true },
    paused: null,
    selected: "BTCUSDT",
  };

  assert.equal(titleText(model), "7.00 BTCUSDT \u00b7 Pulse Terminal");
  assert.equal(
    titleText({ ...model, paused: { atMs: 1, wasTrusted: true } }),
    "(paused) 7.00 BTCUSDT \u00b7 Pulse Terminal",
  );
  assert.equal(titleText({ ...model, selected: "LINKUSDT" }), "LINKUSDT \u00b7 Pulse Terminal");
  const lost = { ...model.status, kind: /** @type {const} */ ("disconnected") };
  assert.equal(titleText({ ...model, status: lost }), "(disconnected) 7.00 BTCUSDT \u00b7 Pulse Terminal");
});

test("a server that is silent is not called connected", () => {
  const open = { phase: /** @type {const} */ ("open"), attempt: 0, retryAtMs: 0, openedAtMs: 1, reason: "" };

  assert.equal(serverText({ ...open, lastMessageAtMs: 1_000 }, 3_000), "Server: connected");
  assert.equal(serverText({ ...open, lastMessageAtMs: 1_000 }, 8_500), "Server: silent for 7 s");
});
