// The bars behind the order book, on one canvas: forty styled boxes ten times a second would cost the browser far
// more than forty rectangles. It draws the lengths it is given and knows neither prices nor pictures.

const FILL_ALPHA = 0.13; // of an ordinary level; the solid edge carries the bar where this is too faint
const WALL_ALPHA = 0.17; // on top, for a level as large as the largest ones
const EDGE_ALPHA = 0.9;
const EDGE_PX = 2;
const FLASH_ALPHA = { bright: 0.45, fading: 0.2 };

/**
 * Draws on `canvas`. `flashSpan` is where a flash goes, as two parts (0 to 1) of the width. Colours are the style
 * sheet's `--bid` and `--ask`.
 */
export function createBars(canvas, flashSpan) {
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const colours = { bid: style.getPropertyValue("--bid").trim(), ask: style.getPropertyValue("--ask").trim() };
  const changes = { up: colours.bid, down: colours.ask };
  let size = { width: 0, height: 0 };

  function bar(side, top, height, { part, strength }) {
    const left = Math.round((1 - part) * size.width);
    context.fillStyle = colours[side];
    context.globalAlpha = FILL_ALPHA + WALL_ALPHA * strength;
    context.fillRect(left, top, size.width - left, height);
    context.globalAlpha = EDGE_ALPHA;
    context.fillRect(Math.min(left, size.width - EDGE_PX), top, EDGE_PX, height);
  }

  function flash(top, height, { change, phase }) {
    const [from, to] = flashSpan.map((part) => Math.round(part * size.width));
    context.fillStyle = changes[change];
    context.globalAlpha = FLASH_ALPHA[phase];
    context.fillRect(from, top, to - from, height);
  }

  return {
    resize(width, height) {
      size = { width, height };
    },
    /** `rows` are `{side, top, height, part, strength, flash}` in CSS pixels; `flash` is `{change, phase}` or null. */
    draw(rows) {
      fit(canvas, context, size);
      for (const row of rows) {
        bar(row.side, row.top, row.height, row);
        if (row.flash !== null) flash(row.top, row.height, row.flash);
      }
    },
  };
}

// Assigning a canvas's size also clears it and forgets the scale, so both are set here every time.
function fit(canvas, context, { width, height }) {
  const ratio = window.devicePixelRatio || 1;
  const wide = Math.round(width * ratio);
  const high = Math.round(height * ratio);
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
}
