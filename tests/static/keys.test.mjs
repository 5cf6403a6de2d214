// The keys.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bookCommand, command, neighbour } from "../../static/keys.js";

/**
 * Return a target whose nearest matching ancestor is itself for these selectors.
 * @param {(selector: string) => boolean} matches
 */
function target(matches) {
  const node = Object.assign(new EventTarget(), {
    closest: (/** @type {string} */ selector) => (matches(selector) ? node : null),
  });
  return node;
}

const BODY = target(() => false);
const BUTTON = target((selector) => selector.includes("button"));
const FIELD = target((selector) => selector.includes("input"));

test("digits, brackets, p, l, f, the slash, the question mark and the space bar are commands", () => {
  assert.deepEqual(command({ key: "2", target: BODY }), { name: "symbol", at: 1 });
  assert.deepEqual(command({ key: "[", target: BODY }), { name: "step", by: -1 });
  assert.deepEqual(command({ key: "]", target: BODY }), { name: "step", by: 1 });
  assert.deepEqual(command({ key: "p", target: BODY }), { name: "proof" });
  assert.deepEqual(command({ key: "/", target: BODY }), { name: "find" });
  assert.deepEqual(command({ key: "l", target: BODY }), { name: "layouts" });
  assert.deepEqual(command({ key: "f", target: BODY }), { name: "maximise" });
  assert.deepEqual(command({ key: "?", target: BODY }), { name: "help" });
  assert.deepEqual(command({ key: " ", target: BODY }), { name: "pause" });
});

test("a key pressed on the document itself is a command", () => {
  assert.deepEqual(command({ key: " ", target: new EventTarget() }), { name: "pause" });
  assert.deepEqual(command({ key: "p", target: null }), { name: "proof" });
});

test("a focused control keeps the space bar, and the browser keeps its shortcuts", () => {
  assert.equal(command({ key: " ", target: BUTTON }), null);
  assert.equal(command({ key: "1", ctrlKey: true, target: BODY }), null);
  assert.equal(command({ key: "x", target: BODY }), null);
});

test("a control that was clicked does not take the space bar from the page", () => {
  assert.deepEqual(command({ key: " ", target: BUTTON }, true), { name: "pause" });
  assert.equal(command({ key: " ", target: FIELD }, true), null);
});

test("a key typed into a field is not a command", () => {
  for (const key of ["1", "[", "p", "/", "?", " "]) assert.equal(command({ key, target: FIELD }), null);
});

test("stepping through the symbols wraps around", () => {
  const symbols = [{ symbol: "A" }, { symbol: "B" }, { symbol: "C" }];

  assert.equal(neighbour(symbols, "C", 1), "A");
  assert.equal(neighbour(symbols, "A", -1), "C");
  assert.equal(neighbour([], "A", 1), "");
});

test("minus, plus and u are the order book's, but not in a field", () => {
  assert.deepEqual(
    ["-", "+", "u", "x"].map((key) => bookCommand({ key, target: BODY })),
    ["finer", "coarser", "unit", null],
  );
  assert.equal(bookCommand({ key: "-", target: FIELD }), null);
  assert.equal(bookCommand({ key: "-", ctrlKey: true, target: BODY }), null);
});
