// Times of the chart in the time zone that the user has chosen. Bars of a day and more are days in UTC, whatever the
// zone: their dates are not moved. Pure, apart from the browser's own table of zones.

const DAY_S = 86_400;
const UTC = "UTC";
/** Offered beside UTC and the browser's own: where the markets that move this one open. */
const OTHERS = ["America/New_York", "Europe/London", "Asia/Singapore", "Asia/Tokyo"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/** The chart library's kinds of marks on its time axis: years, months and days come before times. */
const LAST_DATE_MARK = 2;

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/**
 * Return the zone of this name; UTC for a name that the browser does not know.
 * @param {string} name
 */
export function zoneOf(name) {
  return name !== "" && formatOf(name) !== null ? name : UTC;
}

/**
 * Return the zones to offer, and what each is called.
 * @param {string} own the browser's
 * @param {string} chosen
 */
export function zonesOffered(own, chosen) {
  const names = [...new Set([UTC, own, ...OTHERS, chosen].map(zoneOf))];
  return names.map((name) => ({ name, title: name === UTC ? UTC : cityOf(name) }));
}

/**
 * Return the city that a zone is named after: "New York".
 * @param {string} zone
 */
export function cityOf(zone) {
  return zone.slice(zone.lastIndexOf("/") + 1).replaceAll("_", " ");
}

/**
 * Return the zone in which bars of such a step are dated.
 * @param {string} zone
 * @param {number} stepSeconds 0 for months
 */
export function zoneFor(zone, stepSeconds) {
  return stepSeconds > 0 && stepSeconds < DAY_S ? zone : UTC;
}

/**
 * Return date and time of day in a zone, to the minute.
 * @param {number} seconds
 * @param {string} zone
 */
export function zoned(seconds, zone) {
  const format = formatOf(zone);
  if (format === null) throw new RangeError(`expected the name of a time zone, got ${zone}`);
  /** @type {Record<string, string>} */
  const parts = {};
  for (const { type, value } of format.formatToParts(seconds * 1000)) parts[type] = value;
  return { date: `${parts.year}-${parts.month}-${parts.day}`, time: `${parts.hour}:${parts.minute}` };
}

/**
 * Return a mark of the time axis: the year, month or day that begins there, or the time of day. Where another zone's
 * day does not begin with that of UTC, its own midnight is marked with the day instead.
 * @param {number} seconds
 * @param {number} kind the library's kind of mark: 0 a year, 1 a month, 2 a day, then times
 * @param {string} zone
 */
export function axisText(seconds, kind, zone) {
  const { date, time } = zoned(seconds, zone);
  const [year, month, day] = date.split("-");
  if (time !== "00:00") return time;
  if (kind === 0) return year;
  if (kind === 1) return MONTHS[Number(month) - 1];
  return kind === LAST_DATE_MARK || zone !== UTC ? `${Number(day)} ${MONTHS[Number(month) - 1]}` : time;
}

/**
 * Return a bar's open as the cursor's label reads: "2024-08-08 23:55 New York".
 * @param {number} seconds
 * @param {string} zone
 */
export function cursorText(seconds, zone) {
  const { date, time } = zoned(seconds, zone);
  return `${date} ${time} ${zone === UTC ? UTC : cityOf(zone)}`;
}

/** @param {string} zone */
function formatOf(zone) {
  const known = formats.get(zone);
  if (known !== undefined) return known;
  const [digits, hourCycle] = [/** @type {const} */ ("2-digit"), /** @type {const} */ ("h23")];
  const fields = { month: digits, day: digits, hour: digits, minute: digits, hourCycle };
  try {
    const format = new Intl.DateTimeFormat("en-GB", { timeZone: zone, year: "numeric", ...fields });
    formats.set(zone, format);
    return format;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}
