// Layouts as texts and trees.

import assert from "node:assert/strict";
import { test } from "node:test";

import { savedLayouts } from "../../static/dialogs/layouts.js";
import {
  activated,
  layoutText,
  PRESETS,
  parsedLayout,
  pinned,
  placesOf,
  resized,
  shownPlaces,
  WIDTHS,
  widthClass,
  withCopy,
  without,
  withPanel,
} from "../../static/layout.js";
import { PANELS } from "../../static/panels/table.js";
import { sizesAfter } from "../../static/workspace.js";

/** @import {Split, Tree} from "../../static/layout.js" */

const KNOWN = ["chart", "ladder", "trades", "metrics", "health"];

/**
 * @param {string} text
 * @returns {Tree}
 */
function tree(text) {
  const parsed = parsedLayout(text, KNOWN);
  assert.ok(parsed !== null, text);
  return parsed;
}

test("a layout's text says the same when it has been read", () => {
  for (const text of [
    "chart",
    "chart/metrics:a",
    "(chart/metrics+health!:240),ladder:400,trades:300",
    "chart:380/(ladder,trades@ETHUSDT):520/metrics*0.5",
    "(chart/ladder*3),(chart@ETHUSDT/ladder@ETHUSDT*3)",
    "chart@\u5e01\u5b89USDT",
  ])
    assert.equal(layoutText(tree(text)), text);
});

test("what is no layout is refused whole", () => {
  for (const text of ["", "chart,", "(chart", "chart)", "chart:", "chart:999999", "Chart", "chart;ladder", "!", "@A"])
    assert.equal(parsedLayout(text, KNOWN), null, text);
  assert.equal(parsedLayout(`${"(".repeat(50)}chart${")".repeat(50)}`, KNOWN), null);
});

test("unknown panels, and those that are there twice, are left out", () => {
  assert.equal(layoutText(tree("nothing/(chart,chart):300,ladder")), "chart,ladder");
  assert.equal(layoutText(tree("chart+nothing!+ladder")), "chart+ladder");
  assert.equal(parsedLayout("nothing,other", KNOWN), null);
});

test("sizes are kept within bounds", () => {
  assert.equal(layoutText(tree("chart:1,ladder:9999,trades*5000")), "chart:80,ladder:5000,trades*1000");
});

test("each preset is a layout at every width, with the main panels", () => {
  const names = PANELS.map(({ name }) => name);
  for (const [preset, texts] of Object.entries(PRESETS))
    for (const { name } of WIDTHS) {
      const parsed = parsedLayout(texts[name], names);
      assert.ok(parsed !== null, `${preset} ${name}`);
      if (preset === "standard")
        for (const panel of ["chart", "ladder", "trades", "metrics"])
          assert.ok(
            placesOf(parsed).some((place) => place.name === panel),
            `${name} ${panel}`,
          );
    }
});

test("a page has the layout of the largest width that fits", () => {
  const names = [3840, 1800, 1799, 1366, 1181, 768, 390, 0].map(widthClass);

  assert.deepEqual(names, ["wide", "wide", "desktop", "laptop", "laptop", "tablet", "phone", "phone"]);
});

test("one panel of each group of tabs is shown", () => {
  const before = tree("chart/metrics+health!,ladder");
  assert.deepEqual(
    shownPlaces(before).map(({ name }) => name),
    ["chart", "health", "ladder"],
  );
  assert.equal(layoutText(activated(before, "metrics")), "(chart/metrics+health),ladder");
});

test("a hidden panel leaves no empty place, and the last one stays", () => {
  assert.equal(layoutText(without(tree("(chart/metrics):300,ladder"), "metrics")), "chart:300,ladder");
  assert.equal(layoutText(without(tree("metrics+health!/chart"), "health")), "metrics/chart");
  assert.equal(layoutText(without(tree("chart"), "chart")), "chart");
});

test("a panel that is shown again is a tab of the dock, in front", () => {
  assert.equal(
    layoutText(withPanel(tree("(chart/metrics),ladder"), { name: "health", pin: "" })),
    "(chart/metrics+health!),ladder",
  );
  assert.equal(layoutText(withPanel(tree("chart,ladder"), { name: "health", pin: "" })), "chart,ladder+health!");
  assert.equal(
    layoutText(withPanel(tree("chart,metrics+health"), { name: "health", pin: "" })),
    "chart,metrics+health!",
  );
});

test("a panel is pinned to a symbol, and another one of its kind stands beside it", () => {
  assert.equal(layoutText(pinned(tree("chart,ladder"), "ladder", "ETHUSDT")), "chart,ladder@ETHUSDT");
  assert.equal(layoutText(pinned(tree("ladder,ladder@ETHUSDT"), "ladder", "ETHUSDT")), "ladder,ladder@ETHUSDT");
  assert.equal(layoutText(pinned(tree("ladder@ETHUSDT"), "ladder@ETHUSDT", "")), "ladder");
  const copied = withCopy(tree("chart/ladder:400"), "ladder", { name: "ladder", pin: "ETHUSDT" });
  assert.equal(layoutText(copied), "chart/(ladder,ladder@ETHUSDT):400");
  assert.equal(layoutText(withCopy(copied, "ladder", { name: "ladder", pin: "ETHUSDT" })), layoutText(copied));
});

test("parts of a split get other sizes, wherever it is nested", () => {
  const before = tree("(chart/metrics:240),ladder:400");
  /** @type {[number, {kind: "px", value: number}][]} */
  const sizes = [[1, { kind: "px", value: 300 }]];

  assert.equal(layoutText(resized(before, [0], new Map(sizes))), "(chart/metrics:300),ladder:400");
  assert.equal(layoutText(resized(before, [], new Map(sizes))), "(chart/metrics:240),ladder:300");
});

/**
 * Return the sizes of both parts of a row after its splitter has moved by 60 px; they were 600 and 400 px wide.
 * @param {string} text
 */
function moved(text) {
  const sizes = sizesAfter(/** @type {Split} */ (tree(text)), 1, [600, 400], 60);
  return Object.fromEntries([...sizes].map(([at, { kind, value }]) => [at, `${kind} ${value}`]));
}

test("a splitter moves pixels to pixels, and shares to shares of the same sum", () => {
  assert.deepEqual(moved("chart,ladder:400"), { 1: "px 340" });
  assert.deepEqual(moved("chart:600,ladder:400"), { 0: "px 660", 1: "px 340" });
  assert.deepEqual(moved("chart*3,ladder*2"), { 0: "share 3.3", 1: "share 1.7" });
  assert.deepEqual(moved("chart/metrics:a"), { 1: "px 340" });
});

test("the user's own layouts are those that can be read", () => {
  assert.deepEqual(savedLayouts('{"mine":"chart,ladder","wrong":7}'), { mine: "chart,ladder" });
  for (const text of ["", "null", "{", "7"]) assert.deepEqual(savedLayouts(text), {}, text);
});
