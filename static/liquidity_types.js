// Types of the messages that are made of a book only while they are watched, and of explanations: asyncapi.json and
// /openapi.json describe them. It holds types alone and no code; null means "not known now".

/** @import {Head, KnownRange} from "./types.js" */

/** A group of prices: its price, what rests in it in base and quote, and what was bought and sold there lately.
 * @typedef {[price: number, quantity: number, quote: number, bought: number, sold: number]} GroupRow
 */

/** `partial` is the group in which the known range ends: a lower bound.
 * @typedef {{rows: GroupRow[], partial: GroupRow | null, is_whole: boolean}} LadderSide
 */

/** @typedef {{multiple: number, step: number | null, bids: LadderSide | null, asks: LadderSide | null}} Groups */

/** @typedef {object} LadderBody
 * @property {string} state_reason
 * @property {number | null} data_age_ms
 * @property {KnownRange} window
 * @property {number} traded_since_ms
 * @property {{rows: number, multiple: number}[]} fitting
 * @property {number | null} covering_multiple
 * @property {Groups} ladder
 */

/** One direction of a cost; nulls where nothing can be filled.
 * @typedef {object} Fill
 * @property {number | null} quantity
 * @property {number | null} average
 * @property {number | null} worst
 * @property {number | null} mid_bps
 * @property {number | null} touch_bps
 * @property {number | null} cost
 * @property {number} unfilled
 * @property {boolean} is_lower_bound
 */

/** @typedef {{notional: number, buy: Fill | null, sell: Fill | null}} Cost */
/** @typedef {Head & LadderBody} LadderMessage */
/** @typedef {Head & {state_reason: string, mid_price: number | null, cost: Cost}} CostMessage */

/** How a metric of a view came about.
 * @typedef {object} Explanation
 * @property {string} metric
 * @property {number} seq
 * @property {number} timestamp
 * @property {number | boolean | null} value
 * @property {string} unit
 * @property {{name: string, meaning: string, value: number}[]} inputs
 * @property {string} arithmetic
 * @property {string} reason why it is not known
 * @property {string} module
 * @property {string} source
 */

export {};
