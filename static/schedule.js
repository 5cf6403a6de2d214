// The page's only animation frame. Whoever learns something marks a name; one frame later everything marked is
// painted once, from the newest state. It does not know what the names mean.

/**
 * `paint` gets the set of marked names. A hidden tab gets no frames: the set then just stays marked, holding each
 * name once, so nothing piles up and the first frame afterwards shows the present.
 */
export function createSchedule(paint, requestFrame = (callback) => requestAnimationFrame(callback)) {
  let dirty = new Set();
  let waiting = false;

  function frame() {
    const names = dirty;
    dirty = new Set();
    waiting = false;
    paint(names);
  }

  return {
    mark(...names) {
      for (const name of names) dirty.add(name);
      if (waiting) return;
      waiting = true;
      requestFrame(frame);
    },
  };
}
