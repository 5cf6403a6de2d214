// The page's only animation frame. Callers mark names as changed; the next frame paints everything marked, once, from
// the newest state. It does not know what the names mean.

const HIDDEN_MS = 1_000; // how often what is seen of a hidden tab is painted at most

/** What the schedule needs of its platform; tests replace it.
 * @typedef {object} Platform
 * @property {(callback: () => void) => void} requestFrame
 * @property {() => boolean} isHidden
 * @property {() => number} now
 */

/** @type {Platform} */
const BROWSER = {
  requestFrame: (callback) => requestAnimationFrame(callback),
  isHidden: () => document.hidden,
  now: () => Date.now(),
};

/**
 * Create the scheduler; `paint` gets the set of marked names. A hidden tab gets no frames: names stay marked, each
 * once, so nothing accumulates and the first frame afterwards paints the present. What is seen of a hidden tab,
 * its title, is painted by `paintHidden` when something is marked.
 * @param {(names: Set<string>) => void} paint
 * @param {() => void} paintHidden
 * @param {Partial<Platform>} platform
 */
export function createSchedule(paint, paintHidden, platform = {}) {
  const { requestFrame, isHidden, now } = { ...BROWSER, ...platform };
  let hiddenAtMs = -Infinity;
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
      if (isHidden() && now() - hiddenAtMs >= HIDDEN_MS) {
        hiddenAtMs = now();
        paintHidden();
      }
      if (isRequested) return;
      isRequested = true;
      requestFrame(frame);
    },
  };
}
