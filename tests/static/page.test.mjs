// The animation frame and the keys.

import assert from "node:assert/strict";
import { test } from "node:test";

import { command, neighbour } from "../../static/keys.js";
import { createSchedule } from "../../static/schedule.js";

const PLATFORM = { isHidden: () => false, now: () => 0 };

function scheduled() {
  /** @type {(() => void)[]} */
  const frames = [];
  /** @type {string[][]} */
  const painted = [];
  const schedule = createSchedule(
    (names) => painted.push([...names].sort()),
    () => {},
    { ...PLATFORM, requestFrame: (frame) => void frames.push(frame) },
  );
  return { frames, painted, schedule };
}

test("many marks cost one frame and one paint", () => {
  const { frames, painted, schedule } = scheduled();
  schedule.mark("book", "time");
  schedule.mark("book");
  frames[0]();

  assert.equal(frames.length, 1);
  assert.deepEqual(painted, [["book", "time"]]);
});

test("marks do not accumulate while no frame comes", () => {
  const { frames, schedule } = scheduled();
  for (let at = 0; at < 10_000; at += 1) schedule.mark("book");

  assert.equal(frames.length, 1);
});

test("a hidden tab has what is seen of it painted once a second, without a frame", () => {
  const clock = { nowMs: 0, isHidden: true };
  let painted = 0;
  const schedule = createSchedule(
    () => {},
    () => {
      painted += 1;
    },
    { requestFrame: () => {}, isHidden: () => clock.isHidden, now: () => clock.nowMs },
  );
  for (clock.nowMs = 0; clock.nowMs < 3_000; clock.nowMs += 100) schedule.mark("book");
  assert.equal(painted, 3);
  clock.isHidden = false;
  clock.nowMs = 9_000;
  schedule.mark("book");

  assert.equal(painted, 3);
});

test("a mark made while painting gets the next frame", () => {
  /** @type {(() => void)[]} */
  const frames = [];
  const schedule = createSchedule(
    () => {
      if (frames.length < 2) schedule.mark("again");
    },
    () => {},
    { ...PLATFORM, requestFrame: (frame) => void frames.push(frame) },
  );
  schedule.mark("book");
  frames[0]();

  assert.equal(frames.length, 2);
});

test("a paint that throws does not prevent the next one", () => {
  /** @type {(() => void)[]} */
  const frames = [];
  const schedule = createSchedule(
    () => {
      throw new RangeError("broken");
    },
    () => {},
    { ...PLATFORM, requestFrame: (frame) => void frames.push(frame) },
  );
  schedule.mark("book");
  assert.throws(() => frames[0](), RangeError);
  schedule.mark("book");

  assert.equal(frames.length, 2);
});

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

test("digits, brackets, p, the slash, the question mark and the space bar are commands", () => {
  assert.deepEqual(command({ key: "2", target: BODY }), { name: "symbol", at: 1 });
  assert.deepEqual(command({ key: "[", target: BODY }), { name: "step", by: -1 });
  assert.deepEqual(command({ key: "]", target: BODY }), { name: "step", by: 1 });
  assert.deepEqual(command({ key: "p", target: BODY }), { name: "proof" });
  assert.deepEqual(command({ key: "/", target: BODY }), { name: "find" });
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
