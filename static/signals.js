// State as signals, and the page's only animation frame. Whoever paints reads the state; what was read is noticed, and
// when any of it changes the painter is called again in the next frame, once, whatever else changed meanwhile.

import { effect, signal, untracked } from "./vendor/preact-signals-core-1.14.5/signals-core.mjs";

/** @import {Signal} from "./vendor/preact-signals-core-1.14.5/signals-core.mjs" */

const HIDDEN_MS = 1_000; // how often what is seen of a hidden tab is painted at most

/**
 * Return an object whose fields are signals: reading one is noticed, and writing one calls those who have read it.
 * @template {object} Fields
 * @param {Fields} fields
 * @returns {Fields}
 */
export function reactive(fields) {
  const state = /** @type {Fields} */ ({});
  for (const [name, value] of Object.entries(fields)) {
    const field = signal(value);
    Object.defineProperty(state, name, {
      get: () => field.value,
      set(next) {
        field.value = next;
      },
      enumerable: true,
    });
  }
  return state;
}

/**
 * A map whose entries are signals of their own; reading an entry that is not there is noticed too.
 * @template Value
 */
export class ReactiveMap {
  /** @type {Map<string, Signal<Value | undefined>>} */
  #entries = new Map();

  /** @param {string} key */
  get(key) {
    return this.#entry(key).value;
  }

  /**
   * @param {string} key
   * @param {Value} value
   */
  set(key, value) {
    this.#entry(key).value = value;
  }

  /** @param {string} key */
  delete(key) {
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.value = undefined;
    this.#entries.delete(key);
  }

  /** The keys that have a value. */
  keys() {
    return [...this.#entries].filter(([, entry]) => entry.peek() !== undefined).map(([key]) => key);
  }

  /** @param {string} key */
  #entry(key) {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = signal(/** @type {Value | undefined} */ (undefined));
      this.#entries.set(key, entry);
    }
    return entry;
  }
}

/** What the frames need of their platform; tests replace it.
 * @typedef {object} Platform
 * @property {(callback: () => void) => void} requestFrame
 * @property {() => boolean} isHidden
 * @property {() => number} now
 * @property {(error: unknown) => void} report
 */

/** @type {Platform} */
const BROWSER = {
  requestFrame: (callback) => requestAnimationFrame(callback),
  isHidden: () => document.hidden,
  now: () => Date.now(),
  report: (error) => reportError(error),
};

/** How a painter is called. One that is paced waits for the next tick, unless it is urgent.
 * @typedef {{isPaced?: boolean, isUrgent?: () => boolean}} Pace
 */

/** A painter that has been added.
 * @typedef {{request: () => void, stop: () => void}} Painter
 */

/**
 * Create the frames. Painters are called in the order in which they were added. A hidden tab gets no frames: what is
 * due stays due, once each, and the first frame afterwards paints the present. What is seen of a hidden tab, its title,
 * is painted by `paintHidden`.
 * @param {() => void} paintHidden
 * @param {Partial<Platform>} platform
 */
export function createFrames(paintHidden, platform = {}) {
  const { requestFrame, isHidden, now, report } = { ...BROWSER, ...platform };
  /** @type {{paint: () => void, isDue: boolean, pace: Pace}[]} */
  let painters = [];
  let hiddenAtMs = -Infinity;
  let isRequested = false;
  let isTick = false;

  function request() {
    if (isHidden() && now() - hiddenAtMs >= HIDDEN_MS) {
      hiddenAtMs = now();
      untracked(paintHidden);
    }
    if (isRequested) return;
    isRequested = true;
    requestFrame(frame);
  }

  function frame() {
    const wasTick = isTick;
    isRequested = false;
    isTick = false;
    for (const painter of painters) {
      const { isPaced, isUrgent } = painter.pace;
      if (!painter.isDue || (isPaced && !wasTick && !isUrgent?.())) continue;
      painter.isDue = false;
      painter.paint();
    }
  }

  return {
    /**
     * Call `paint` in the next frame, and again whenever something that it has read has changed. An error in it is
     * reported and stops no other painter.
     * @param {() => void} paint
     * @param {Pace} pace
     * @returns {Painter}
     */
    add(paint, pace = {}) {
      let stop = () => {};
      const painter = { paint: observed, isDue: true, pace };
      function due() {
        painter.isDue = true;
        request();
      }
      function observed() {
        let isFirst = true;
        stop();
        stop = effect(() => {
          // The second call says that something has changed. It reads nothing, so that no third one follows.
          if (!isFirst) return due();
          isFirst = false;
          attempt(paint, report);
        });
      }
      painters = [...painters, painter];
      request();
      return {
        request: due,
        stop() {
          painters = painters.filter((other) => other !== painter);
          stop();
        },
      };
    },
    /** Call the paced painters that are due. */
    tick() {
      isTick = true;
      request();
    },
  };
}

/**
 * @param {() => void} act
 * @param {(error: unknown) => void} report
 */
function attempt(act, report) {
  try {
    act();
  } catch (error) {
    report(error); // any error: what it is, the page shows; the other painters do not depend on it
  }
}
