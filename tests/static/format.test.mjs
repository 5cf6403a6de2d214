// Numbers and times as text.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  age,
  bps,
  bpsBetween,
  commonLead,
  counted,
  figure,
  fixed,
  quantityColumn,
  signed,
  signedFigure,
  signOf,
  utcMinute,
  utcSecond,
  utcTime,
} from "../../static/format.js";

test("a price has every decimal of its tick size and grouped thousands", () => {
  assert.equal(fixed(61837.6, 2), "61,837.60");
  assert.equal(fixed(0.00021844, 8), "0.00021844");
  assert.equal(fixed(1234567, 0), "1,234,567");
  assert.equal(fixed(999, 0), "999");
});

test("a negative number has a real minus sign, and a rounded zero has none", () => {
  assert.equal(fixed(-1234.5, 1), "\u22121,234.5");
  assert.equal(fixed(-0.001, 2), "0.00");
});

test("a value that is not known is an en dash, never a zero", () => {
  for (const value of [NaN, null, undefined, Infinity]) assert.equal(fixed(value, 2), "\u2013");
  assert.equal(signed(NaN, 2), "\u2013");
});

test("a signed number has a plus or a minus sign, and a rounded zero has none", () => {
  assert.equal(signed(1.5, 2), "+1.50");
  assert.equal(signed(-1.5, 2), "\u22121.50");
  assert.equal(signed(0.001, 2), "0.00");
});

test("the sign of a number is that of its displayed digits", () => {
  assert.deepEqual(
    [0.2, -0.2, 0.001, NaN].map((value) => signOf(value, 2)),
    [1, -1, 0, null],
  );
});

test("basis points keep two significant digits however small the spread is", () => {
  assert.equal(bps(0.0016381), "0.0016");
  assert.equal(bps(1.9998), "2.00");
  assert.equal(bps(120.5), "120.50");
  assert.equal(bps(0), "0.00");
});

test("a distance in basis points has a sign and needs both values", () => {
  assert.equal(bpsBetween(100.01, 100), "+1.00");
  assert.equal(bpsBetween(null, 100), "\u2013");
});

test("a column of quantities has one precision and one unit", () => {
  const small = quantityColumn(7.77391, 5);
  const large = quantityColumn(2_173_172_020, 0);

  assert.deepEqual([small(7.77391), small(0.5)], ["7.77391", "0.50000"]);
  assert.deepEqual([large(2_173_172_020), large(12_000)], ["2,173.172M", "0.012M"]);
});

test("a unit is taken before a column is too wide to read", () => {
  assert.equal(quantityColumn(999_999, 0)(999_999), "999,999");
  assert.equal(quantityColumn(1_234_567, 0)(1_234_567), "1,234.567K");
  assert.equal(quantityColumn(979_156_030, 0)(979_156_030), "979.156M");
  assert.equal(quantityColumn(12_345_678_901, 0)(12_345_678_901), "12.346B");
});

test("a computed quantity has no more decimals than the lot size", () => {
  assert.equal(figure(12.34567, 5), "12.346");
  assert.equal(figure(12.34567, 1), "12.3");
  assert.equal(figure(4394.72, 4), "4,394.7");
  assert.equal(signedFigure(25_390_493, 0), "+25.39M");
});

test("the dimmed lead is what all prices share, without their last two characters", () => {
  assert.equal(commonLead(["61,838.07", "61,837.57"]), "61,83");
  assert.equal(commonLead(["61,838.07", "61,838.07"]), "61,838.");
  assert.equal(commonLead(["100.00", "99.99"]), "");
  assert.equal(commonLead([]), "");
});

test("an age has the largest units that still change", () => {
  assert.deepEqual([40, 7_400, 125_000, 3_720_000].map(age), ["<1 s", "7 s", "2 min 05 s", "1 h 02 min"]);
});

test("times are UTC", () => {
  assert.equal(utcTime(1723161255208), "23:54:15");
  assert.equal(utcTime(1723161255208, true), "23:54:15.208");
  assert.equal(utcMinute(1723161255208), "2024-08-08 23:54");
  assert.equal(utcSecond(1723161255208), "2024-08-08 23:54:15");
});

test("a count has the matching form of its noun", () => {
  assert.deepEqual([counted(1, "trade", "trades"), counted(1204, "trade", "trades")], ["1 trade", "1,204 trades"]);
});
