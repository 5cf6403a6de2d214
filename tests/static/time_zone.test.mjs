// The chart's times in another zone: winter and summer, midnights, and bars that are days in UTC.

import assert from "node:assert/strict";
import { test } from "node:test";

import { axisText, cityOf, cursorText, zoned, zoneFor, zoneOf, zonesOffered } from "../../static/time_zone.js";

const seconds = (/** @type {string} */ text) => Date.parse(text) / 1000;
const NEW_YORK = "America/New_York";

test("a time is that of the zone, in winter and in summer", () => {
  assert.deepEqual(zoned(seconds("2024-01-08T23:55Z"), NEW_YORK), { date: "2024-01-08", time: "18:55" });
  assert.deepEqual(zoned(seconds("2024-08-08T23:55Z"), NEW_YORK), { date: "2024-08-08", time: "19:55" });
  assert.deepEqual(zoned(seconds("2024-08-08T23:55Z"), "Asia/Tokyo"), { date: "2024-08-09", time: "08:55" });
  assert.deepEqual(zoned(seconds("2024-08-08T00:00Z"), "UTC"), { date: "2024-08-08", time: "00:00" });
});

test("a name that is no zone is UTC", () => {
  assert.equal(zoneOf("Mars/Olympus"), "UTC");
  assert.equal(zoneOf(""), "UTC");
  assert.equal(zoneOf("Europe/London"), "Europe/London");
  assert.throws(() => zoned(0, "Mars/Olympus"), RangeError);
});

test("UTC, the browser's own zone and the chosen one are offered once each", () => {
  const names = zonesOffered("Europe/London", "Europe/Berlin").map(({ name }) => name);

  assert.deepEqual(names.slice(0, 2), ["UTC", "Europe/London"]);
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.includes("Europe/Berlin"));
  assert.equal(zonesOffered("UTC", "nonsense")[0].title, "UTC");
  assert.equal(cityOf(NEW_YORK), "New York");
});

test("bars of a day and more are days in UTC", () => {
  assert.equal(zoneFor(NEW_YORK, 60), NEW_YORK);
  assert.equal(zoneFor(NEW_YORK, 86_400), "UTC");
  assert.equal(zoneFor(NEW_YORK, 0), "UTC");
});

test("the axis names years, months, days and times", () => {
  assert.equal(axisText(seconds("2024-01-01T00:00Z"), 0, "UTC"), "2024");
  assert.equal(axisText(seconds("2024-08-01T00:00Z"), 1, "UTC"), "Aug");
  assert.equal(axisText(seconds("2024-08-08T00:00Z"), 2, "UTC"), "8 Aug");
  assert.equal(axisText(seconds("2024-08-08T13:30Z"), 3, "UTC"), "13:30");
});

test("in another zone its own midnight is marked with the day, and that of UTC with the time", () => {
  assert.equal(axisText(seconds("2024-08-08T00:00Z"), 2, NEW_YORK), "20:00");
  assert.equal(axisText(seconds("2024-08-08T04:00Z"), 3, NEW_YORK), "8 Aug");
});

test("the cursor names the zone", () => {
  assert.equal(cursorText(seconds("2024-08-08T23:55Z"), "UTC"), "2024-08-08 23:55 UTC");
  assert.equal(cursorText(seconds("2024-08-08T23:55Z"), NEW_YORK), "2024-08-08 19:55 New York");
});
