// The clock of a replay.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NO_PACE, paceAfter, replayText } from "../../static/replay_clock.js";

const START_S = Date.parse("2024-08-08T23:55:02Z") / 1000;

/**
 * Return the pace after views of every 100 ms, of a replay at this speed.
 * @param {number} speed
 */
function paced(speed) {
  let pace = NO_PACE;
  for (let ms = 0; ms <= 9_000; ms += 100)
    pace = paceAfter(pace, { instance: "aaaaaaaa", timestamp: START_S + (speed * ms) / 1000 }, 1e6 + ms);
  return pace;
}

test("a replay has its own date and time, and the speed at which they pass", () => {
  const at = { timestamp: START_S };

  assert.equal(replayText(at, NO_PACE), "2024-08-08 23:55:02 UTC");
  assert.equal(replayText(at, paced(1)), "2024-08-08 23:55:02 UTC, at its own speed");
  assert.equal(replayText(at, paced(2.5)), "2024-08-08 23:55:02 UTC, 2.5 times as fast");
  assert.equal(replayText(at, paced(60)), "2024-08-08 23:55:02 UTC, 60 times as fast");
  assert.equal(replayText(null, paced(1)), "");
});

test("a replay that begins again is measured anew", () => {
  const pace = paceAfter(paced(10), { instance: "aaaaaaaa", timestamp: START_S }, 1e6 + 9_500);

  assert.equal(pace.speed, 0);
});
