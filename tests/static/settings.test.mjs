// The user's choices, in the address and in the browser's storage.

import assert from "node:assert/strict";
import { test } from "node:test";

import { parsedHash, Settings } from "../../static/settings.js";
import { computed } from "../../static/vendor/preact-signals-core-1.14.5/signals-core.mjs";

/** @param {string} hash */
function opened(hash, stored = /** @type {Record<string, string>} */ ({})) {
  const kept = new Map(Object.entries(stored));
  const address = { hash };
  const storage = {
    getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => void kept.set(key, value),
    removeItem: (/** @type {string} */ key) => void kept.delete(key),
  };
  const setHash = (/** @type {string} */ next) => {
    address.hash = next;
  };
  return { settings: new Settings({ storage, hash: () => address.hash, setHash }), kept, address };
}

test("the address names a symbol in any spelling", () => {
  assert.equal(parsedHash("#btcusdt").symbol, "BTCUSDT");
  assert.equal(parsedHash("#%E5%B8%81%E5%AE%89usdt&interval=5m").symbol, "\u5e01\u5b89USDT");
  assert.equal(parsedHash("#100%").symbol, "100%");
  assert.equal(parsedHash("").symbol, "");
});

test("what the address says goes before what is stored", () => {
  const { settings } = opened("#BTCUSDT&interval=5m", { "pulse.interval": "1h", "pulse.layout": "book" });

  assert.equal(settings.get("interval"), "5m");
  assert.equal(settings.get("layout"), "book");
  assert.equal(settings.get("nothing"), "");
});

test("a choice is stored and in the address; one that is taken back is in neither", () => {
  const { settings, kept, address } = opened("#BTCUSDT");
  settings.set("layout", "chart:380/(ladder,trades@ETHUSDT+metrics)");
  settings.set("interval", "5m");
  assert.equal(address.hash, "#BTCUSDT&interval=5m&layout=chart:380/(ladder,trades@ETHUSDT+metrics)");
  assert.equal(opened(address.hash).settings.get("layout"), settings.get("layout"));
  settings.set("layout", "");
  settings.setSymbol("ETHUSDT");

  assert.equal(address.hash, "#ETHUSDT&interval=5m");
  assert.deepEqual(
    [...kept],
    [
      ["pulse.interval", "5m"],
      ["pulse.symbol", "ETHUSDT"],
    ],
  );
});

test("a choice of an earlier visit is in the address of this one", () => {
  const { settings, address } = opened("", { "pulse.interval": "1h", "pulse.symbol": "LINKUSDT" });
  assert.deepEqual([settings.get("interval"), settings.get("symbol")], ["1h", "LINKUSDT"]);
  settings.setSymbol("BTCUSDT");

  assert.equal(address.hash, "#BTCUSDT&interval=1h");
});

test("whoever has read a choice is told of its change, also of the first one", () => {
  const { settings } = opened("", { "pulse.layout": "book" });
  const layout = computed(() => settings.get("layout"));
  assert.equal(layout.value, "book");
  settings.set("layout", "chart");

  assert.equal(layout.value, "chart");
});

test("a choice of the user's alone is not in the address", () => {
  const { settings, kept, address } = opened("#BTCUSDT");
  settings.set("layouts", "mine", { isShared: false });

  assert.deepEqual([address.hash, kept.get("pulse.own.layouts")], ["#BTCUSDT", "mine"]);
  assert.equal(opened("", Object.fromEntries(kept)).settings.get("layouts"), "mine");
});

test("names that cannot be settings, and values that are too long, are ignored", () => {
  const { values } = parsedHash(`#BTCUSDT&__proto__=1&a=${"x".repeat(2_001)}&interval=5m&=2&b`);

  assert.deepEqual(
    [...values],
    [
      ["interval", "5m"],
      ["b", ""],
    ],
  );
});
