// Numbers and times as a person reads them: tick-true decimals, grouped thousands, a real minus sign, UTC.
// Everything here is a pure function of its arguments; it knows no page, no clock and no symbol.

export const UNKNOWN = "\u2013"; // an en dash: this value is not known, which is not the same as zero
const MINUS = "\u2212"; // as wide as a plus sign, so signed columns stay aligned
const UNITS = [
  { from: 1e12, divisor: 1e9, suffix: "B" },
  { from: 1e9, divisor: 1e6, suffix: "M" },
  { from: 1e7, divisor: 1e3, suffix: "K" },
];

/** `value` with exactly `decimals` decimals and grouped thousands; an en dash for anything that is no finite number. */
export function fixed(value, decimals) {
  if (!Number.isFinite(value)) return UNKNOWN;
  const digits = Math.abs(value).toFixed(decimals);
  const sign = value < 0 && /[1-9]/.test(digits) ? MINUS : "";
  const point = digits.indexOf(".");
  const whole = point < 0 ? digits : digits.slice(0, point);
  return sign + grouped(whole) + (point < 0 ? "" : digits.slice(point));
}

function grouped(whole) {
  let text = whole.slice(-3);
  for (let end = whole.length - 3; end > 0; end -= 3) text = `${whole.slice(Math.max(0, end - 3), end)},${text}`;
  return text;
}

/** As `fixed`, with a plus sign in front of what is above zero after rounding. */
export function signed(value, decimals) {
  return plus(value, fixed(value, decimals));
}

function plus(value, text) {
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** -1, 0 or 1: the sign of `value` as it reads with `decimals` decimals; null when it is not known. */
export function signOf(value, decimals) {
  if (!Number.isFinite(value)) return null;
  const step = 10 ** -decimals / 2;
  if (value >= step) return 1;
  return value <= -step ? -1 : 0;
}

/** Decimals that show `digits` significant digits of `value`, between `fewest` and `most`. */
export function decimalsFor(value, digits, fewest, most) {
  const size = Math.abs(value);
  if (!Number.isFinite(size) || size === 0) return fewest;
  return Math.min(most, Math.max(fewest, digits - 1 - Math.floor(Math.log10(size))));
}

/** Basis points with enough digits to be worth reading: 0.0016, 3.10, 120.50. */
export function bps(value) {
  return fixed(value, decimalsFor(value, 2, 2, 6));
}

/** How far `value` is from `reference` in basis points, with its sign; an en dash when either is not known. */
export function bpsBetween(value, reference) {
  if (!Number.isFinite(value) || !Number.isFinite(reference)) return UNKNOWN;
  const distance = ((value - reference) / reference) * 1e4;
  return signed(distance, decimalsFor(distance, 2, 2, 4));
}

/**
 * How one column of quantities is written, so that no column mixes precisions: with all `decimals` of the lot size
 * while the column's largest value is below ten million, in thousands, millions or billions above.
 */
export function quantityColumn(largest, decimals) {
  const unit = unitOf(largest);
  return unit === undefined ? (value) => fixed(value, decimals) : (value) => scaled(value, unit);
}

/** One computed quantity: four to five significant digits, never more decimals than the lot size supports. */
export function figure(value, decimals) {
  const unit = unitOf(value);
  return unit === undefined ? fixed(value, figureDecimals(value, decimals)) : scaled(value, unit);
}

/** As `figure`, with a plus sign in front of what is above zero after rounding. */
export function signedFigure(value, decimals) {
  return plus(value, figure(value, decimals));
}

function unitOf(value) {
  return UNITS.find(({ from }) => Math.abs(value) >= from);
}

function scaled(value, { divisor, suffix }) {
  const text = fixed(value / divisor, 2);
  return text === UNKNOWN ? text : text + suffix;
}

function figureDecimals(value, decimals) {
  const size = Math.abs(value);
  if (size >= 10_000) return 0;
  return Math.min(decimals, size >= 1_000 ? 1 : size >= 100 ? 2 : 3);
}

/** The leading characters that all of `texts` share, leaving at least `keep` of each: the part worth dimming. */
export function commonLead(texts, keep = 2) {
  if (texts.length === 0) return "";
  const first = texts[0];
  let length = first.length - keep;
  for (const text of texts) length = sharedLength(first, text, Math.min(length, text.length - keep));
  return first.slice(0, Math.max(0, length));
}

function sharedLength(left, right, limit) {
  for (let at = 0; at < limit; at += 1) {
    if (left[at] !== right[at]) return at;
  }
  return Math.max(0, limit);
}

/** An age in the coarsest words that still count: "<1 s", "7 s", "2 min 05 s", "1 h 02 min". */
export function age(milliseconds) {
  if (!Number.isFinite(milliseconds)) return UNKNOWN;
  const seconds = Math.floor(Math.max(0, milliseconds) / 1000);
  if (seconds < 1) return "<1 s";
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** Time of day in UTC, "23:55:08", or to the millisecond, "23:55:08.042". */
export function utcTime(milliseconds, withMilliseconds = false) {
  if (!Number.isFinite(milliseconds)) return UNKNOWN;
  return new Date(milliseconds).toISOString().slice(11, withMilliseconds ? 23 : 19);
}

/** Date and time in UTC to the minute: "2024-08-08 23:55". */
export function utcMinute(milliseconds) {
  if (!Number.isFinite(milliseconds)) return UNKNOWN;
  return new Date(milliseconds).toISOString().slice(0, 16).replace("T", " ");
}

/** Date and time in UTC to the second: "2024-08-08 23:55:08". */
export function utcSecond(milliseconds) {
  if (!Number.isFinite(milliseconds)) return UNKNOWN;
  return new Date(milliseconds).toISOString().slice(0, 19).replace("T", " ");
}

/** "1 trade", "1,204 trades". */
export function counted(count, one, many) {
  return `${fixed(count, 0)} ${count === 1 ? one : many}`;
}

function two(number) {
  return String(number).padStart(2, "0");
}
