// Numbers and times as text: decimals of the tick size, grouped thousands, a real minus sign, UTC. Pure functions;
// they know no page, no clock and no symbol. A value that is not known (null, undefined, NaN) is an en dash.

/** @typedef {number | null | undefined} Value */
/** @typedef {{from: number, divisor: number, suffix: string}} Unit */

export const UNKNOWN = "\u2013"; // not known, which is not the same as zero
const MINUS = "\u2212"; // as wide as a plus sign, so that signed columns stay aligned
/** @type {Unit[]} */
const UNITS = [
  { from: 1e10, divisor: 1e9, suffix: "B" },
  { from: 1e7, divisor: 1e6, suffix: "M" },
  { from: 1e6, divisor: 1e3, suffix: "K" },
];

/**
 * Whether `value` is a finite number.
 * @param {Value} value
 * @returns {value is number}
 */
export function isKnown(value) {
  return Number.isFinite(value);
}

/**
 * Return a figure with all its digits, as it was computed, and without an exponent down to 0.00000001.
 * @param {number | boolean | null} value
 */
export function figureText(value) {
  if (value === null) return UNKNOWN;
  if (typeof value === "boolean") return value ? "yes" : "no";
  const text = String(value);
  return (text.includes("e") ? value.toFixed(20).replace(/0+$/, "") : text).replace("-", MINUS);
}

/**
 * Format `value` with exactly `decimals` decimals and grouped thousands.
 * @param {Value} value
 * @param {number} decimals
 */
export function fixed(value, decimals) {
  if (!isKnown(value)) return UNKNOWN;
  const digits = Math.abs(value).toFixed(decimals);
  const sign = value < 0 && /[1-9]/.test(digits) ? MINUS : "";
  const point = digits.indexOf(".");
  const whole = point < 0 ? digits : digits.slice(0, point);
  return sign + grouped(whole) + (point < 0 ? "" : digits.slice(point));
}

/** @param {string} whole */
function grouped(whole) {
  let text = whole.slice(-3);
  for (let end = whole.length - 3; end > 0; end -= 3) text = `${whole.slice(Math.max(0, end - 3), end)},${text}`;
  return text;
}

/**
 * Format as `fixed`, with a plus sign in front of what is above zero after rounding.
 * @param {Value} value
 * @param {number} decimals
 */
export function signed(value, decimals) {
  return plus(value, fixed(value, decimals));
}

/**
 * @param {Value} value
 * @param {string} text
 */
function plus(value, text) {
  return isKnown(value) && value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/**
 * Return -1, 0 or 1: the sign of `value` as displayed with `decimals` decimals; null when it is not known.
 * @param {Value} value
 * @param {number} decimals
 */
export function signOf(value, decimals) {
  if (!isKnown(value)) return null;
  const step = 10 ** -decimals / 2;
  if (value >= step) return 1;
  return value <= -step ? -1 : 0;
}

/**
 * Return the decimals that show `digits` significant digits of `value`, between `fewest` and `most`.
 * @param {number} value
 * @param {number} digits
 * @param {number} fewest
 * @param {number} most
 */
export function decimalsFor(value, digits, fewest, most) {
  const size = Math.abs(value);
  if (!Number.isFinite(size) || size === 0) return fewest;
  return Math.min(most, Math.max(fewest, digits - 1 - Math.floor(Math.log10(size))));
}

/**
 * Format basis points with two significant digits or two decimals: 0.0016, 3.10, 120.50.
 * @param {Value} value
 */
export function bps(value) {
  return fixed(value, decimalsFor(value ?? NaN, 2, 2, 6));
}

/**
 * Format the signed distance of `value` from `reference` in basis points.
 * @param {Value} value
 * @param {Value} reference
 */
export function bpsBetween(value, reference) {
  if (!isKnown(value) || !isKnown(reference)) return UNKNOWN;
  const distance = ((value - reference) / reference) * 1e4;
  return signed(distance, decimalsFor(distance, 2, 2, 4));
}

/**
 * Return the formatter of one column of quantities, so that no column mixes precisions: all `decimals` of the lot size
 * while the column's largest value is below a million, above it thousands, millions or billions with three decimals, so
 * that a small value beside a large one does not read zero.
 * @param {number} largest
 * @param {number} decimals
 * @returns {(value: Value) => string}
 */
export function quantityColumn(largest, decimals) {
  const unit = unitOf(largest);
  return unit === undefined ? (value) => fixed(value, decimals) : (value) => scaled(value, unit, 3);
}

/**
 * Format one computed quantity: four to five significant digits, at most the lot size's decimals.
 * @param {Value} value
 * @param {number} decimals
 */
export function figure(value, decimals) {
  if (!isKnown(value)) return UNKNOWN;
  const unit = unitOf(value);
  return unit === undefined ? fixed(value, figureDecimals(value, decimals)) : scaled(value, unit, 2);
}

/**
 * Format as `figure`, with a plus sign in front of what is above zero after rounding.
 * @param {Value} value
 * @param {number} decimals
 */
export function signedFigure(value, decimals) {
  return plus(value, figure(value, decimals));
}

/** @param {number} value */
function unitOf(value) {
  return UNITS.find(({ from }) => Math.abs(value) >= from);
}

/**
 * @param {Value} value
 * @param {Unit} unit
 * @param {number} decimals
 */
function scaled(value, { divisor, suffix }, decimals) {
  return isKnown(value) ? fixed(value / divisor, decimals) + suffix : UNKNOWN;
}

/**
 * @param {number} value
 * @param {number} decimals
 */
function figureDecimals(value, decimals) {
  const size = Math.abs(value);
  if (size >= 10_000) return 0;
  if (size >= 1_000) return Math.min(decimals, 1);
  return Math.min(decimals, size >= 100 ? 2 : 3);
}

/**
 * Return the leading characters that all of `texts` share, leaving at least `keep` of each: the part to dim.
 * @param {string[]} texts
 * @param {number} keep
 */
export function commonLead(texts, keep = 2) {
  if (texts.length === 0) return "";
  const first = texts[0];
  let length = first.length - keep;
  for (const text of texts) length = sharedLength(first, text, Math.min(length, text.length - keep));
  return first.slice(0, Math.max(0, length));
}

/**
 * @param {string} left
 * @param {string} right
 * @param {number} limit
 */
function sharedLength(left, right, limit) {
  for (let at = 0; at < limit; at += 1) {
    if (left[at] !== right[at]) return at;
  }
  return Math.max(0, limit);
}

/**
 * Format an age: "<1 s", "7 s", "2 min 05 s", "1 h 02 min".
 * @param {number} milliseconds
 */
export function age(milliseconds) {
  if (!isKnown(milliseconds)) return UNKNOWN;
  const seconds = Math.floor(Math.max(0, milliseconds) / 1000);
  if (seconds < 1) return "<1 s";
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${twoDigits(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${twoDigits(minutes % 60)} min`;
}

/**
 * Format a wait until `untilMs` in whole seconds, at least one: "4 s".
 * @param {number} untilMs
 * @param {number} nowMs
 */
export function waitText(untilMs, nowMs) {
  return `${Math.max(1, Math.ceil((untilMs - nowMs) / 1000))} s`;
}

/**
 * Format the time of day in UTC: "23:55:08", or "23:55:08.042" with milliseconds.
 * @param {number} milliseconds
 */
export function utcTime(milliseconds, withMilliseconds = false) {
  return isKnown(milliseconds) ? iso(milliseconds).slice(11, withMilliseconds ? 23 : 19) : UNKNOWN;
}

/**
 * Format date and time in UTC to the minute: "2024-08-08 23:55".
 * @param {number} milliseconds
 */
export function utcMinute(milliseconds) {
  return isKnown(milliseconds) ? iso(milliseconds).slice(0, 16).replace("T", " ") : UNKNOWN;
}

/**
 * Format date and time in UTC to the second: "2024-08-08 23:55:08".
 * @param {number} milliseconds
 */
export function utcSecond(milliseconds) {
  return isKnown(milliseconds) ? iso(milliseconds).slice(0, 19).replace("T", " ") : UNKNOWN;
}

/** @param {number} milliseconds */
function iso(milliseconds) {
  return new Date(milliseconds).toISOString();
}

/**
 * Format a count with its noun: "1 trade", "1,204 trades".
 * @param {number} count
 * @param {string} one
 * @param {string} many
 */
export function counted(count, one, many) {
  return `${fixed(count, 0)} ${count === 1 ? one : many}`;
}

/** @param {number} number */
function twoDigits(number) {
  return String(number).padStart(2, "0");
}
