// The depth bars behind the order book, on one canvas: forty styled boxes ten times a second would cost the browser
// far more than forty rectangles. It draws the lengths it is given and knows neither prices nor views.

/** @import {Change} from "../../state.js" */
/** @import {Side} from "../../types.js" */

const FILL_ALPHA = 0.13; // of an ordinary level; the solid edge carries the bar where this is too faint
const WALL_ALPHA = 0.17; // on top, for a level as large as the largest ones
const EDGE_ALPHA = 0.9;
const EDGE_PX = 1; // along the foot of the row: an upright edge would run through digits
const FLASH_ALPHA = { bright: 0.45, fading: 0.2 };

/** @typedef {{change: Change, phase: keyof typeof FLASH_ALPHA}} Flash */

/** One row in CSS pixels; `part` (0 to 1) is the bar's length, `strength` (0 to 1) its density.
 * @typedef {{side: Side, top: number, height: number, part: number, strength: number, flash: Flash | null}} BarRow
 */

/**
 * Draw on `canvas` in the style sheet's `--bid` and `--ask`; a level that shrank flashes grey. `flashSpan` is where a
 * flash goes, as two parts (0 to 1) of the width.
 * @param {HTMLCanvasElement} canvas
 * @param {[number, number]} flashSpan
 */
export function createDepthBars(canvas, flashSpan) {
  const context = contextOf(canvas);
  const style = getComputedStyle(canvas);
  const colours = { bid: style.getPropertyValue("--bid").trim(), ask: style.getPropertyValue("--ask").trim() };
  const shrunk = style.getPropertyValue("--cursor").trim();
  let size = { width: 0, height: 0 };

  /** @param {BarRow} row */
  function drawBar({ side, top, height, part, strength }) {
    const left = Math.round((1 - part) * size.width);
    context.fillStyle = colours[side];
    context.globalAlpha = FILL_ALPHA + WALL_ALPHA * strength;
    context.fillRect(left, top, size.width - left, height);
    context.globalAlpha = EDGE_ALPHA;
    context.fillRect(left, top + height - EDGE_PX, size.width - left, EDGE_PX);
  }

  /**
   * @param {BarRow} row
   * @param {Flash} flash
   */
  function drawFlash({ side, top, height }, { change, phase }) {
    const [from, to] = flashSpan.map((part) => Math.round(part * size.width));
    context.fillStyle = change === "up" ? colours[side] : shrunk; // green is a bid, whatever has happened to it
    context.globalAlpha = FLASH_ALPHA[phase];
    context.fillRect(from, top, to - from, height);
  }

  return {
    /**
     * @param {number} width
     * @param {number} height
     */
    resize(width, height) {
      size = { width, height };
    },
    /** @param {BarRow[]} rows */
    draw(rows) {
      fit(canvas, context, size);
      for (const row of rows) {
        drawBar(row);
        if (row.flash !== null) drawFlash(row, row.flash);
      }
    },
  };
}

/** @param {HTMLCanvasElement} canvas */
function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("expected a canvas to draw on, but this browser gives no 2d context");
  return context;
}

/**
 * Clear the canvas and match it to its size. Assigning a canvas's size resets its scale, so both are set every time.
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2D} context
 * @param {{width: number, height: number}} size
 */
function fit(canvas, context, { width, height }) {
  const ratio = window.devicePixelRatio || 1;
  const wide = Math.round(width * ratio);
  const high = Math.round(height * ratio);
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
}
