// The age of each panel's own stream, in its head: the book's, the trades' and the candles'. A stream that is silent is
// named on the page's root, so that its panel alone is dimmed.

import { setAttr, setText } from "../dom.js";
import { ageNote, silentKinds } from "../streams.js";

/** @import {PanelModel} from "../page_model.js" */
/** @import {StreamKind} from "../types.js" */

/**
 * Paint into each element within `root` that names its stream, and on `root` itself.
 * @param {HTMLElement} root
 */
export function createStreamAges(root) {
  /** @type {NodeListOf<HTMLElement>} */
  const notes = root.querySelectorAll("[data-stream]");

  return {
    /** @param {PanelModel} model */
    paint(model) {
      const silent = silentKinds(model);
      setAttr(root, "data-silent", silent.join(" ") || null);
      for (const note of notes) {
        const kind = /** @type {StreamKind} */ (note.dataset.stream);
        setText(note, ageNote(model, kind, model.nowMs));
        setAttr(note, "data-old", silent.includes(kind) ? "" : null);
      }
    },
  };
}
