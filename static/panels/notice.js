// A sentence on something that the user asked for and that cannot be, below the strip and over the panels, so that it
// moves nothing. It stays until the user closes it or asks for something else.

import { find, setText, setVisible } from "../dom.js";

/** @import {PanelModel} from "../page_model.js" */

/**
 * Paint into `node`; `onClose()` is the user's.
 * @param {HTMLElement} node
 * @param {{onClose: () => void}} options
 */
export function createNotice(node, { onClose }) {
  const text = find(node, ".notice-text");
  find(node, "button").addEventListener("click", onClose);

  return {
    /** @param {PanelModel} model */
    paint({ notice }) {
      setVisible(node, notice !== "");
      setText(text, notice);
    },
  };
}
