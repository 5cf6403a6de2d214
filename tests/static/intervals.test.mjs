// The chart's intervals: their names, the bars of a longer one, and the progress of the history.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  applyCandles,
  applyRunning,
  EMPTY_CHART,
  INTERVALS,
  intervalOf,
  MINUTE,
  progressText,
  progressTitle,
  runningChart,
} from "../../static/intervals.js";
import { BAR_REST, candle, trades } from "./support.mjs";

/** @import {Bar} from "../../static/state.js" */
/** @import {Candle} from "../../static/types.js" */

/**
 * @param {number} hour
 * @param {number} close
 * @param {Partial<Candle>} change
 */
function hourly(hour, close, change = {}) {
  return candle(`2024-08-09T0${hour}:00:00+00:00`, { close, high: 9, missing_minutes: 0, ...change });
}

test("an interval is found by its name, and an unknown name gives a minute", () => {
  assert.deepEqual(
    INTERVALS.map(({ name }) => intervalOf(name).name),
    INTERVALS.map(({ name }) => name),
  );
  assert.equal(intervalOf("2 fortnights"), MINUTE);
  assert.equal(intervalOf(null), MINUTE);
});

test("closed candles become bars and the running one is live", () => {
  const chart = applyCandles(EMPTY_CHART, [hourly(1, 2), hourly(2, 3, { is_closed: false })]);
  assert.deepEqual(
    chart.bars.map(({ close }) => close),
    [2],
  );
  assert.equal(chart.live?.close, 3);
});

test("the running minute extends the running bar of a longer interval, and begins the next one", () => {
  const hour = intervalOf("1h");
  const open = Date.parse("2024-08-08T12:00Z") / 1000;
  const bar = { time: open, open: 5, high: 6, low: 4, close: 5, volume: 10, ...BAR_REST };
  const minute = { ...bar, open: 5, high: 8, low: 5, close: 7, volume: 1 };
  const chart = { bars: [{ ...bar, time: open - 3_600 }], live: bar };
  const running = (/** @type {Bar} */ live) => runningChart(chart, hour, { live, trades: [] });

  assert.deepEqual(running({ ...minute, time: open + 60 }).live, { ...bar, high: 8, close: 7 });
  const next = running({ ...minute, time: open + 3_600 });
  assert.deepEqual([next.bars.at(-1), next.live?.time, next.live?.low], [bar, open + 3_600, 5]);
  assert.equal(running({ ...minute, time: open - 60 }), chart);
  assert.equal(runningChart(EMPTY_CHART, hour, { live: minute, trades: [] }), EMPTY_CHART);
});

test("while no minute runs yet the kept trades extend the running bar", () => {
  const hour = intervalOf("1h");
  const open = Date.parse("2024-08-08T12:00Z") / 1000;
  const live = { time: open, open: 5, high: 6, low: 4, close: 5, volume: 10, ...BAR_REST };
  const [newest, older] = trades(9, 2);
  const seen = [
    { ...newest, time_ms: (open + 5) * 1000 },
    { ...older, price: 70, time_ms: (open - 5) * 1000 },
  ];

  assert.deepEqual(runningChart({ bars: [], live }, hour, { live: null, trades: seen }).live, {
    ...live,
    high: 9,
    close: 9,
  });
});

test("a trade after the running minute begins the next one", () => {
  const open = Date.parse("2024-08-08T12:00Z") / 1000;
  const live = { time: open, open: 5, high: 6, low: 4, close: 5, volume: 10, ...BAR_REST };
  const [newest, older] = trades(9, 3);
  const seen = [
    { ...newest, time_ms: (open + 61) * 1000 },
    { ...older, time_ms: (open + 59) * 1000 },
  ];
  const chart = runningChart({ bars: [], live }, MINUTE, { live, trades: seen });

  assert.deepEqual(chart.bars, [{ ...live, low: 3, close: 3 }]);
  const volumes = { volume: 1, ...BAR_REST, quoteVolume: 9, takerBuyVolume: 1 };
  assert.deepEqual(chart.live, { time: open + 60, open: 9, high: 9, low: 9, close: 9, ...volumes });
});

test("weeks open on Mondays, months on the first", () => {
  const bar = { open: 1, high: 1, low: 1, close: 1, volume: 1, ...BAR_REST };
  const at = (/** @type {string} */ text) => Date.parse(text) / 1000;
  const running = (/** @type {string} */ name, /** @type {string} */ live, /** @type {string} */ minute) =>
    runningChart({ bars: [], live: { ...bar, time: at(live) } }, intervalOf(name), {
      live: { ...bar, time: at(minute) },
      trades: [],
    }).live?.time;

  assert.equal(running("1w", "2024-08-05", "2024-08-11T23:59Z"), at("2024-08-05"));
  assert.equal(running("1w", "2024-08-05", "2024-08-12T00:00Z"), at("2024-08-12"));
  assert.equal(running("1M", "2024-02-01", "2024-02-29T23:59Z"), at("2024-02-01"));
  assert.equal(running("1M", "2024-02-01", "2024-03-01T00:00Z"), at("2024-03-01"));
});

test("a newer answer adds bars and replaces corrected ones", () => {
  const before = applyCandles(EMPTY_CHART, [hourly(1, 2), hourly(2, 3)]);
  const { bars, live } = applyCandles(before, [hourly(2, 4), hourly(3, 5)]);
  assert.deepEqual(
    bars.map(({ close }) => close),
    [2, 4, 5],
  );
  assert.equal(live, null);
});

test("a bar has the number of its missing minutes", () => {
  const { bars } = applyCandles(EMPTY_CHART, [hourly(1, 2, { missing_minutes: 7 })]);
  assert.equal(bars[0].missing, 7);
});

test("an answer with nothing new returns the same bars", () => {
  const before = applyCandles(EMPTY_CHART, [hourly(1, 2)]);
  assert.equal(applyCandles(before, [hourly(1, 2)]).bars, before.bars);
});

test("the progress of the history is shown until it is complete", () => {
  assert.equal(progressText({ minutes: 12_000, of: 42_200 }), "history 28 % loaded");
  assert.equal(progressText({ minutes: 5, of: 5 }), "");
  assert.equal(progressText(null), "");
});

test("the title of the progress counts minutes", () => {
  assert.match(progressTitle({ minutes: 12_000, of: 42_200 }), / 12,000 of 42,200 minutes so far\./);
  assert.equal(progressTitle({ minutes: 5, of: 5 }), "");
  assert.equal(progressTitle(null), "");
});

test("a message of the kline topic brings the running bar and the newest closed one", () => {
  const chart = applyCandles(EMPTY_CHART, [hourly(1, 2), hourly(2, 3, { is_closed: false })]);
  const message = { candle: hourly(3, 5, { is_closed: false }), closed_candle: hourly(2, 4) };
  const after = applyRunning(chart, message);

  assert.deepEqual(
    after.bars.map(({ close }) => close),
    [2, 4],
  );
  assert.equal(after.live?.close, 5);
  assert.equal(applyRunning(after, message), after);
  assert.equal(applyRunning(after, { candle: null, closed_candle: null }), after);
});
