// Which symbol is shown first, or found by typed text.

import assert from "node:assert/strict";
import { test } from "node:test";

import { firstSymbol, matching } from "../../static/symbol_names.js";

test("the first symbol is the address's, else the stored one, else the server's default", () => {
  const symbols = ["BTCUSDT", "ETHUSDT"];

  assert.equal(firstSymbol(symbols, "BTCUSDT", "ETHUSDT", "BTCUSDT"), "ETHUSDT");
  assert.equal(firstSymbol(symbols, "BTCUSDT", "NOPE", "ETHUSDT"), "ETHUSDT");
  assert.equal(firstSymbol(symbols, "BTCUSDT", "", null), "BTCUSDT");
  assert.equal(firstSymbol([], "", ""), "");
});

test("a symbol is found whatever separates its assets, exact matches and prefixes first", () => {
  const names = ["BTCUSDT", "WBTCETH", "ETHBTC", "BTCUSD", "SOLUSDT"];

  assert.deepEqual(matching(names, "btc"), ["BTCUSDT", "BTCUSD", "WBTCETH", "ETHBTC"]);
  assert.deepEqual(matching(names, "btc/usd"), ["BTCUSD", "BTCUSDT"]);
  assert.deepEqual(matching(names, " Sol-usdt "), ["SOLUSDT"]);
  assert.deepEqual(matching(names, ""), names);
  assert.deepEqual(matching(names, "(.*"), []);
});
