// Panels and layouts as a dialog: which panels are shown, the layouts that everyone has, and the user's own, which he
// saves under a name. It is made anew each time it is opened.

import { element } from "../dom.js";
import { keyOf, layoutText, placesOf, PRESETS, withPanel, without } from "../layout.js";

/** @import {Workspace} from "../workspace.js" */

const NAME_CHARACTERS_MAX = 30;
const LAYOUTS_MAX = 20; // of the user's own

/** @type {Record<string, string>} */
const TITLES = { standard: "Standard", book: "Order book", chart: "Chart" };

/**
 * Open the dialog.
 * @param {Workspace} workspace
 */
export function openLayoutDialog(workspace) {
  const body = element("div", { class: "layouts-body" });
  const close = element("button", { type: "submit", class: "tool", "data-testid": "layouts-close" });
  close.append(element("span", {}, "Close"), element("kbd", { "aria-hidden": "true" }, "Esc"));
  const head = element("form", { class: "proof-head", method: "dialog" });
  head.append(element("h2", { id: "layouts-heading" }, "Panels and layouts"), close);
  const attributes = { class: "help layouts", "aria-labelledby": "layouts-heading", "data-testid": "layouts" };
  const dialog = element("dialog", attributes, head, body);
  dialog.addEventListener("close", () => dialog.remove());
  const fill = () => body.replaceChildren(panels(workspace, fill), presets(workspace, fill), own(workspace, fill));
  fill();
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * @param {Workspace} workspace
 * @param {() => void} changed
 */
function panels(workspace, changed) {
  const shown = placesOf(workspace.tree);
  const boxes = workspace.rows.map(({ name, title }) => {
    const own = shown.filter((place) => place.name === name);
    const box = element("input", { type: "checkbox", "data-testid": `show-${name}`, checked: own.length > 0 });
    box.addEventListener("change", () => {
      const tree = workspace.tree;
      const next = box.checked ? withPanel(tree, { name, pin: "" }) : hidden(tree, own);
      workspace.change(next);
      changed();
    });
    return element("label", { class: "layouts-panel" }, box, title);
  });
  return element("fieldset", {}, element("legend", {}, "Shown panels"), ...boxes);
}

/**
 * @param {Workspace["tree"]} tree
 * @param {ReturnType<typeof placesOf>} places
 */
function hidden(tree, places) {
  return places.reduce((next, place) => without(next, keyOf(place)), tree);
}

/**
 * @param {Workspace} workspace
 * @param {() => void} changed
 */
function presets(workspace, changed) {
  const { settings, setting } = workspace;
  const current = settings.get(setting) === "" ? settings.get("layout") || "standard" : "";
  const buttons = Object.keys(PRESETS).map((name) => {
    const attributes = { type: "button", class: "tool", "data-testid": `layout-${name}` };
    const button = element("button", { ...attributes, "aria-pressed": String(name === current) }, TITLES[name] ?? name);
    button.addEventListener("click", () => {
      settings.set(setting, "");
      settings.set("layout", name === "standard" ? "" : name);
      changed();
    });
    return button;
  });
  return element("fieldset", {}, element("legend", {}, "Layouts"), ...buttons);
}

/**
 * @param {Workspace} workspace
 * @param {() => void} changed
 */
function own(workspace, changed) {
  const { settings, setting } = workspace;
  const saved = savedLayouts(settings.get("layouts"));
  /** @param {Record<string, string>} next */
  const keep = (next) => {
    settings.set("layouts", Object.keys(next).length === 0 ? "" : JSON.stringify(next), { isShared: false });
    changed();
  };
  const lines = Object.entries(saved).map(([name, text]) => {
    const isCurrent = text === layoutText(workspace.tree);
    const attributes = { type: "button", class: "tool", "aria-pressed": String(isCurrent) };
    const show = element("button", { ...attributes, "data-testid": "own-layout" }, name);
    show.addEventListener("click", () => {
      settings.set(setting, text);
      changed();
    });
    const remove = element("button", { type: "button", class: "tool", "aria-label": `Delete ${name}` }, "Delete");
    remove.addEventListener("click", () => keep(Object.fromEntries(Object.entries(saved).filter(([n]) => n !== name))));
    return element("p", { class: "layouts-own" }, show, remove);
  });
  const field = element("input", { class: "search-field", "aria-label": "Name of the layout", placeholder: "Name" });
  Object.assign(field, { maxLength: NAME_CHARACTERS_MAX, required: true });
  field.setAttribute("data-testid", "layout-name");
  const save = element("button", { type: "submit", class: "tool", "data-testid": "layout-save" }, "Save this one");
  const form = element("form", { class: "layouts-own" }, field, save);
  form.addEventListener("submit", (event) => {
    event.preventDefault(); // not sent by the browser: it would be a new page
    const name = field.value.trim();
    const names = Object.keys(saved);
    if (name !== "" && (names.includes(name) || names.length < LAYOUTS_MAX))
      keep({ ...saved, [name]: layoutText(workspace.tree) });
  });
  return element("fieldset", {}, element("legend", {}, "Your own"), ...lines, form);
}

/**
 * Return the user's own layouts by name; none where what is stored is not that.
 * @param {string} text
 * @returns {Record<string, string>}
 */
export function savedLayouts(text) {
  try {
    const entries = Object.entries(JSON.parse(text || "{}"));
    return Object.fromEntries(entries.filter(([, layout]) => typeof layout === "string").slice(0, LAYOUTS_MAX));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return {};
    throw error;
  }
}
