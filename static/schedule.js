// The page's only animation frame. Callers mark names as changed; the next frame paints everything marked, once, from
// the newest state. It does not know what the names mean.

/**
 * Create the scheduler; `paint` gets the set of marked names. A hidden tab gets no frames: names stay marked, each
 * once, so nothing accumulates and the first frame afterwards paints the present.
 * @param {(names: Set<string>) => void} paint
 * @param {(callback: () => void) => void} requestFrame
 */
export function createSchedule(paint, requestFrame = (callback) => requestAnimationFrame(callback)) {
  /** @type {Set<string>} */
  let marked = new Set();
  let isRequested = false;

  function frame() {
    const names = marked;
    marked = new Set();
    isRequested = false;
    paint(names);
  }

  return {
    /** @param {string[]} names */
    mark(...names) {
      for (const name of names) marked.add(name);
      if (isRequested) return;
      isRequested = true;
      requestFrame(frame);
    },
  };
}
