// What the cost of a sum says, as texts. Pure.

import { bps, figure, fixed, isKnown, UNKNOWN } from "../../format.js";

/** @import {Cost, CostMessage, Fill} from "../../liquidity_types.js" */
/** @import {Instrument} from "../../types.js" */

/** One line of the table.
 * @typedef {{name: string, term: string, buy: string, sell: string}} CostLine
 */

const QUOTE_DECIMALS = 2;
const SUM = /^(?:0|[1-9]\d{0,11})(?:\.\d{1,8})?$/;

/**
 * Return the user's sum as its only decimal, as the server names it; "" where it is none.
 * @param {string} text
 */
export function notionalOf(text) {
  const plain = text.replace(/[\s,_]/g, "").replace(/^0+(?=\d)/, "");
  if (!SUM.test(plain) || !(Number(plain) > 0)) return "";
  return plain.includes(".") ? plain.replace(/\.?0+$/, "") : plain;
}

/**
 * Return the lines of the table, and the sentence below it.
 * @param {CostMessage | null} message
 * @param {Instrument | null} instrument
 * @returns {{lines: CostLine[], text: string}}
 */
export function costLines(message, instrument) {
  const cost = message?.cost ?? null;
  /**
   * @param {string} name
   * @param {string} term
   * @param {(fill: Fill) => string} text
   */
  const line = (name, term, text) => {
    const [buy, sell] = [cost?.buy, cost?.sell].map((fill) => (fill ? text(fill) : UNKNOWN));
    return { name, term, buy, sell };
  };
  const decimals = instrument?.price_decimals ?? 2;
  const quantityDecimals = instrument?.quantity_decimals ?? 8;
  const lines = [
    line("cost", `Cost, ${instrument?.quote_asset ?? ""}`, (fill) => atLeast(fill) + fixed(fill.cost, QUOTE_DECIMALS)),
    line("mid_bps", "Against the mid, bps", (fill) => atLeast(fill) + bps(fill.mid_bps)),
    line("touch_bps", "Against the best price, bps", (fill) => atLeast(fill) + bps(fill.touch_bps)),
    line("average", "Average price", (fill) => fixed(fill.average, decimals)),
    line("worst", "Worst price", (fill) => fixed(fill.worst, decimals)),
    line("quantity", `Quantity, ${instrument?.base_asset ?? ""}`, (fill) => figure(fill.quantity, quantityDecimals)),
  ];
  return { lines, text: cost === null ? "" : unfilledText(cost, instrument?.quote_asset ?? "") };
}

/** A cost of which a part is missing. @param {Fill} fill */
function atLeast(fill) {
  return fill.is_lower_bound ? "\u2265" : "";
}

/**
 * @param {Cost} cost
 * @param {string} asset
 */
function unfilledText({ buy, sell }, asset) {
  const texts = [];
  for (const { fill, act } of [
    { fill: buy, act: "buying" },
    { fill: sell, act: "selling" },
  ]) {
    if (!fill || !isKnown(fill.unfilled) || fill.unfilled === 0) continue;
    const rest = `${figure(fill.unfilled, QUOTE_DECIMALS)} ${asset}`;
    const reason = fill.is_lower_bound ? "the known range of the book ends there" : "the whole book has no more";
    texts.push(`${rest} of ${act} is not filled: ${reason}.`);
  }
  return texts.join(" ");
}
