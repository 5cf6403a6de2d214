// The row of the order book that the user points at, by pointer or by arrow keys. The cursor is a position in the
// ladder, not a price, so it stays where it is while the book moves.

import { closest } from "../../dom.js";
import { TOP_LEVELS } from "../../known_range.js";

/** @import {Level, Side} from "../../types.js" */

/** @typedef {{side: Side, level: number}} Position */
/** @typedef {Position & {levels: Level[]}} Place */

/**
 * Follow the pointer and the keys over `table`; `onMove()` requests a paint.
 * @param {HTMLElement} table
 * @param {() => void} onMove
 */
export function createCursor(table, onMove) {
  /** @type {Position | null} */
  let position = null;
  let isKeyMove = false;

  /** @param {Position | null} next */
  function move(next) {
    position = next;
    onMove();
  }

  table.addEventListener("pointerover", (event) => {
    const row = closest(event, "[data-price]");
    move(row === null ? null : { side: row.dataset.side === "ask" ? "ask" : "bid", level: Number(row.dataset.level) });
  });
  table.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") move(null);
  });
  table.addEventListener("blur", () => move(null));
  document.addEventListener("pointerdown", ({ target }) => {
    if (position !== null && target instanceof Node && !table.contains(target)) move(null);
  });
  table.addEventListener("keydown", (event) => {
    if (event.key === "Escape") move(null);
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    isKeyMove = true;
    move(stepped(position, event.key === "ArrowUp" ? 1 : -1));
  });

  return {
    /** Return whether a key has moved the cursor since this was last asked. */
    takeKeyMove() {
      const wasMoved = isKeyMove;
      isKeyMove = false;
      return wasMoved;
    },
    /**
     * Return the cursor's place in the displayed book; null where it points at nothing.
     * @param {{bids: Level[], asks: Level[]}} book
     * @returns {Place | null}
     */
    place({ bids, asks }) {
      if (position === null) return null;
      const levels = position.side === "ask" ? asks : bids;
      if (levels.length === 0) return null;
      return { side: position.side, level: Math.min(position.level, levels.length - 1), levels };
    },
  };
}

/**
 * Upwards (+1) leads from the bids through the spread into the asks.
 * @param {Position | null} from
 * @param {1 | -1} step
 * @returns {Position}
 */
function stepped(from, step) {
  if (from === null) return { side: step > 0 ? "ask" : "bid", level: 0 };
  const outward = from.side === "ask" ? step : -step;
  if (from.level + outward < 0) return { side: from.side === "ask" ? "bid" : "ask", level: 0 };
  return { side: from.side, level: Math.min(TOP_LEVELS - 1, from.level + outward) };
}
