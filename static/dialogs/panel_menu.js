// The menu of one panel: give it the whole place, hide it, pin it to a symbol, or show another one of its kind beside
// it for a symbol. It is made anew each time it is opened.

import { element } from "../dom.js";
import { keyOf, pinned, placesOf, withCopy, without } from "../layout.js";

/** @import {Page} from "../page_model.js" */
/** @import {Frame} from "../panel_frame.js" */
/** @import {Workspace} from "../workspace.js" */

const WIDTH_PX = 280;

/**
 * Open the menu of the panel with this key, below its button.
 * @param {Frame} frame
 * @param {string} key
 * @param {Page} page
 * @param {Workspace} workspace
 */
export function openPanelMenu({ section, heading }, key, page, workspace) {
  const place = placesOf(workspace.tree).find((one) => keyOf(one) === key);
  if (place === undefined) return;
  const isMaximised = workspace.maximised === key;
  const symbols = element("select", { class: "menu-symbol", "aria-label": "Symbol", "data-testid": "menu-symbol" });
  symbols.append(...[...page.listed].sort().map((name) => element("option", { value: name }, name)));
  symbols.value = place.pin || page.selected;
  const items = [
    item(isMaximised ? "Restore all panels" : "Maximise", "maximise", () => workspace.maximise(key)),
    item("Hide", "hide", () => {
      if (isMaximised) workspace.maximise(key);
      workspace.change(without(workspace.tree, key));
    }),
    element("hr", {}),
    symbols,
    item("Pin to this symbol", "pin", () => workspace.change(pinned(workspace.tree, key, symbols.value))),
    item("Another one beside it, for this symbol", "copy", () => {
      const copy = { name: place.name, pin: symbols.value };
      workspace.change(withCopy(workspace.tree, key, copy));
    }),
  ];
  if (place.pin !== "")
    items.push(item("Follow the selected symbol", "unpin", () => workspace.change(pinned(workspace.tree, key, ""))));
  const form = element("form", { method: "dialog" }, ...items);
  const name = `${heading.textContent}: panel menu`;
  const dialog = element("dialog", { class: "menu", "aria-label": name, "data-testid": "panel-menu" }, form);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", ({ target }) => {
    if (target === dialog) dialog.close(); // beside the menu
  });
  document.body.append(dialog);
  const { right, top } = section.getBoundingClientRect();
  dialog.style.left = `${Math.max(8, Math.min(right, window.innerWidth) - WIDTH_PX - 8)}px`;
  dialog.style.top = `${Math.max(8, Math.min(top + 32, window.innerHeight - 260))}px`;
  dialog.showModal();
}

/**
 * @param {string} text
 * @param {string} testId
 * @param {() => void} act
 */
function item(text, testId, act) {
  const button = element("button", { type: "submit", class: "menu-item", "data-testid": `menu-${testId}` }, text);
  button.addEventListener("click", act);
  return button;
}
