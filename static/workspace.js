// The panels on the screen, each in its place. It knows no panel by name.

import { PanelFrame } from "./panel_frame.js";
import { signal } from "./vendor/preact-signals-core-1.14.5/signals-core.mjs";

/** @import {OtherTopic} from "./feed.js" */
/** @import {PanelModel} from "./page_model.js" */
/** @import {PageContext} from "./panel_frame.js" */
/** @import {PanelRow} from "./panels/table.js" */
/** @import {createFrames} from "./signals.js" */

/**
 * Show the panels of `rows` in `place`.
 * @param {HTMLElement} place
 * @param {PanelRow[]} rows
 * @param {PanelModel} model
 * @param {ReturnType<typeof createFrames>} frames
 * @param {PageContext} context
 */
export function createWorkspace(place, rows, model, frames, context) {
  const mounted = signal(0); // counts, so that those who have asked for topics ask again
  const panels = rows.map((row) => new PanelFrame(row, model, frames, context, noteMounted));
  place.append(...panels.map(({ frame }) => frame.section));
  for (const panel of panels) panel.show();

  function noteMounted() {
    mounted.value += 1;
  }

  return {
    /**
     * The symbols on the screen, each with the further topics that its panels need.
     * @returns {Map<string, OtherTopic[]>}
     */
    get wanted() {
      const topics = mounted.value < 0 ? [] : panels.flatMap((panel) => panel.topics);
      return model.selected === "" ? new Map() : new Map([[model.selected, topics]]);
    },
  };
}
