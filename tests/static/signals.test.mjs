// State as signals, and the animation frame.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createFrames, ReactiveMap, reactive } from "../../static/signals.js";

/** A browser whose frames and clock a test controls. */
function framed() {
  /** @type {(() => void)[]} */
  const requested = [];
  /** @type {unknown[]} */
  const errors = [];
  const clock = { nowMs: 0, isHidden: false, titles: 0 };
  const frames = createFrames(
    () => {
      clock.titles += 1;
    },
    {
      requestFrame: (act) => void requested.push(act),
      isHidden: () => clock.isHidden,
      now: () => clock.nowMs,
      report: (error) => void errors.push(error),
    },
  );
  return { frames, requested, errors, clock, paint: () => requested.shift()?.() };
}

test("a painter is called again, once, when something that it has read has changed", () => {
  const { frames, requested, paint } = framed();
  const state = reactive({ price: 1, size: 2, other: 3 });
  /** @type {number[]} */
  const painted = [];
  frames.add(() => void painted.push(state.price + state.size));
  paint();
  state.other = 4;
  assert.equal(requested.length, 0);
  state.price = 10;
  state.size = 20;
  state.price = 11;
  assert.equal(requested.length, 1);
  paint();

  assert.deepEqual(painted, [3, 31]);
});

test("changes do not accumulate while no frame comes", () => {
  const { frames, requested, paint } = framed();
  const state = reactive({ price: 0 });
  frames.add(() => void state.price);
  paint();
  for (let at = 1; at < 10_000; at += 1) state.price = at;

  assert.equal(requested.length, 1);
});

test("all that is due is painted in one frame, in the order in which it was added", () => {
  const { frames, paint } = framed();
  const state = reactive({ price: 0 });
  /** @type {string[]} */
  const painted = [];
  for (const name of ["first", "second"]) frames.add(() => void painted.push(`${name} ${state.price}`));
  paint();
  state.price = 1;
  paint();

  assert.deepEqual(painted, ["first 0", "second 0", "first 1", "second 1"]);
});

test("a paced painter waits for the tick, unless it is urgent", () => {
  const { frames, paint } = framed();
  const state = reactive({ price: 0 });
  /** @type {number[]} */
  const painted = [];
  let isUrgent = false;
  frames.add(() => void painted.push(state.price), { isPaced: true, isUrgent: () => isUrgent });
  frames.tick();
  paint();
  state.price = 1;
  paint();
  assert.deepEqual(painted, [0]);
  frames.tick();
  paint();
  isUrgent = true;
  state.price = 2;
  paint();

  assert.deepEqual(painted, [0, 1, 2]);
});

test("a painter that throws is reported, stops no other one, and is called again", () => {
  const { frames, errors, paint } = framed();
  const state = reactive({ price: 0 });
  let painted = 0;
  frames.add(() => {
    if (state.price === 0) throw new RangeError("broken");
    painted += 1;
  });
  frames.add(() => {
    painted += 1;
  });
  paint();
  assert.deepEqual([errors.map(String), painted], [["RangeError: broken"], 1]);
  state.price = 1;
  paint();

  assert.equal(painted, 2);
});

test("a painter that has been stopped is not called again, and one can be asked for", () => {
  const { frames, requested, paint } = framed();
  const state = reactive({ price: 0 });
  let painted = 0;
  const painter = frames.add(() => {
    painted += state.price + 1;
  });
  paint();
  painter.request();
  paint();
  assert.equal(painted, 2);
  painter.stop();
  state.price = 1;

  assert.deepEqual([painted, requested.length], [2, 0]);
});

test("a hidden tab has what is seen of it painted once a second, without a frame", () => {
  const { frames, clock } = framed();
  clock.isHidden = true;
  for (clock.nowMs = 0; clock.nowMs < 3_000; clock.nowMs += 100) frames.tick();
  assert.equal(clock.titles, 3);
  clock.isHidden = false;
  clock.nowMs = 9_000;
  frames.tick();

  assert.equal(clock.titles, 3);
});

test("an entry of a map is noticed before it is there, and after it was dropped", () => {
  const { frames, paint } = framed();
  const map = /** @type {ReactiveMap<number>} */ (new ReactiveMap());
  /** @type {(number | undefined)[]} */
  const painted = [];
  frames.add(() => void painted.push(map.get("a")));
  paint();
  map.set("b", 1);
  map.set("a", 2);
  paint();
  map.delete("a");
  paint();
  map.set("a", 3);
  paint();

  assert.deepEqual(painted, [undefined, 2, undefined, 3]);
  assert.deepEqual(map.keys(), ["b", "a"]);
});
