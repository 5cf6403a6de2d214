// The age of each stream as the page shows it, and which checks confirm nothing.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ageNote, silentKinds, silentText, streamAge, streamList } from "../../static/streams.js";
import { view } from "./support.mjs";

/** @import {Stream} from "../../static/types.js" */

/**
 * Return a book whose view was received at 10 s.
 * @param {Stream[]} streams
 */
function bookOf(...streams) {
  return { view: view({ streams }), receivedAtMs: 10_000 };
}

test("a stream's age grows with the time since its view came", () => {
  const book = bookOf({ kind: "trade", state: "live", age_ms: 300 });

  assert.equal(streamAge(book, "trade", 12_000), 2_300);
  assert.equal(streamAge(book, "trade", 9_000), 300);
  assert.equal(streamAge(book, "kline", 12_000), null);
  assert.equal(streamAge({ view: null, receivedAtMs: 0 }, "trade", 12_000), null);
});

test("each panel names the age of its own stream, and for how long it is silent", () => {
  const book = bookOf(
    { kind: "depth", state: "live", age_ms: 30 },
    { kind: "trade", state: "silent", age_ms: 12_000 },
    { kind: "kline", state: "silent", age_ms: null },
  );

  assert.deepEqual(silentKinds(book), ["trade", "kline"]);
  assert.equal(ageNote(book, "depth", 10_000), "<1 s ago");
  assert.equal(ageNote(book, "trade", 11_000), "silent for 13 s");
  assert.equal(ageNote(book, "kline", 11_000), "silent");
  assert.equal(ageNote(book, "partial", 11_000), "");
});

test("silent streams are named by the checks that they confirm", () => {
  assert.equal(silentText([]), "");
  assert.equal(silentText(["touch"]), "the exchange's bookTicker is silent");
  assert.equal(silentText(["candle"]), "the exchange's candles are silent");
  assert.equal(silentText(["touch", "top"]), "the exchange's bookTicker and partial depth are silent");
});

test("the proof lists every stream with its habit", () => {
  const text = streamList([
    { kind: "trade", state: "quiet", age_ms: 65_000, usual_ms: 4_200, reason: "" },
    { kind: "kline", state: "quiet", age_ms: null, usual_ms: null, reason: "" },
    { kind: "depth", state: "silent", age_ms: 9_000, usual_ms: 100, reason: "" },
  ]);

  assert.equal(
    text,
    "trades 1 min 05 s ago, usually every 4 s; candles nothing yet; depth 9 s ago, usually every 100 ms, silent",
  );
});
