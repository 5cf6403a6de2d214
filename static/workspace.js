// The panels on the screen: places them as the layout says, lets the user resize, hide, maximise and pin them, and
// keeps what he chose. What a layout is, is in layout.js; it knows no panel by name.

import { element, setAttr, setVisible } from "./dom.js";
import { activated, keyOf, layoutText, parsedLayout, PRESETS, SIZE_PX_MIN, widthClass } from "./layout.js";
import { placesOf, resized, shownPlaces } from "./layout.js";
import { panelModel } from "./page_model.js";
import { PanelFrame } from "./panel_frame.js";
import { computed, effect, signal, untracked } from "./vendor/preact-signals-core-1.14.5/signals-core.mjs";

/** @import {OtherTopic} from "./feed.js" */
/** @import {Place, Size, Split, Tabs, Tree} from "./layout.js" */
/** @import {Page, PanelModel} from "./page_model.js" */
/** @import {PageContext} from "./panel_frame.js" */
/** @import {PanelRow} from "./panels/table.js" */
/** @import {createFrames} from "./signals.js" */

/** @typedef {ReturnType<typeof createWorkspace>} Workspace */

const STEP_PX = 16; // of a splitter, by an arrow key
const PHONE_TABS = 4; // in the bar at the bottom; the others are behind "More"

/**
 * Show the panels of `rows` in `place`.
 * @param {HTMLElement} place
 * @param {PanelRow[]} rows
 * @param {Page} page
 * @param {ReturnType<typeof createFrames>} frames
 * @param {Omit<PageContext, "openMenu">} context
 */
export function createWorkspace(place, rows, page, frames, context) {
  const { settings } = context;
  const names = rows.map(({ name }) => name);
  const width = signal(widthClass(window.innerWidth));
  const maximised = signal(""); // the key of a panel
  const mounted = signal(0); // counts, so that those who have asked for topics ask again
  /** @type {Map<string, PanelModel>} */
  const models = new Map();
  /** @type {Map<string, PanelFrame>} */
  const panels = new Map();
  let drawnShape = "";
  window.addEventListener("resize", () => {
    width.value = widthClass(window.innerWidth);
  });

  /** The setting that has the user's own layout at this width; a phone's and a tablet's do not fit elsewhere. */
  const setting = () => (["tablet", "phone"].includes(width.value) ? `panels.${width.value}` : "panels");
  const preset = () => {
    const name = settings.get("layout");
    const layouts = PRESETS[Object.hasOwn(PRESETS, name) ? name : "standard"];
    return /** @type {Tree} */ (parsedLayout(layouts[width.value], names));
  };
  const tree = computed(() => parsedLayout(settings.get(setting()), names) ?? preset());
  const drawn = computed(() => {
    const chosen = placesOf(tree.value).find((one) => keyOf(one) === maximised.value);
    return chosen === undefined ? tree.value : tabsOf(chosen);
  });
  const shown = computed(() => shownPlaces(drawn.value));

  effect(() => {
    const [current, name] = [drawn.value, width.value];
    untracked(() => draw(current, name));
  });

  /**
   * @param {Tree} current
   * @param {string} className
   */
  function draw(current, className) {
    setAttr(place, "data-width", className);
    setAttr(place, "data-maximised", maximised.value || null);
    const shape = `${className} ${shapeOf(current)}`;
    if (shape !== drawnShape) place.replaceChildren(...notices(), nodeOf(current, []));
    drawnShape = shape;
    size(current, /** @type {HTMLElement} */ (place.lastElementChild));
    const keys = shown.value.map(keyOf);
    for (const [key, panel] of panels) if (!keys.includes(key)) panel.hide();
    for (const key of keys) panels.get(key)?.show();
    forget(new Set(placesOf(tree.value).map(keyOf)));
  }

  /** What stands over the panels stays. */
  function notices() {
    return [...place.children].filter((child) => child.matches(".notice"));
  }

  /**
   * Drop the panels that are not part of the layout any more.
   * @param {Set<string>} kept
   */
  function forget(kept) {
    for (const key of panels.keys()) if (!kept.has(key)) panels.delete(key);
  }

  /**
   * @param {Tree} current
   * @param {number[]} path
   * @returns {HTMLElement}
   */
  function nodeOf(current, path) {
    if (current.kind === "tabs") return cell(current);
    const children = current.children.flatMap((child, at) => {
      const node = nodeOf(child, [...path, at]);
      return at === 0 ? [node] : [splitter(current, path, at), node];
    });
    return element("div", { class: `split ${current.kind}` }, ...children);
  }

  /** @param {Tabs} tabs */
  function cell(tabs) {
    const sections = tabs.places.map((one) => panelOf(one).frame.section);
    if (tabs.places.length === 1) return element("div", { class: "cell" }, ...sections);
    const buttons = tabs.places.map(tabButton);
    const isPhone = width.value === "phone";
    const list = element("div", { class: "tab-list", role: "tablist", "aria-label": "Panels" });
    list.append(...(isPhone ? buttons.slice(0, PHONE_TABS) : buttons));
    list.addEventListener("keydown", (event) => stepTabs(event, list));
    const rest = isPhone ? buttons.slice(PHONE_TABS) : [];
    const bar = element("div", { class: "tabs" }, list, ...(rest.length > 0 ? more(rest) : []));
    return element("div", { class: "cell tabbed" }, bar, ...sections);
  }

  /** @param {HTMLElement[]} buttons those that find no room in the bar */
  function more(buttons) {
    const names = { class: "sheet", role: "tablist", "aria-label": "More panels", "data-testid": "more-sheet" };
    const sheet = element("div", { ...names, hidden: true }, ...buttons);
    const attributes = { type: "button", class: "tab more", "aria-expanded": "false", "data-testid": "tab-more" };
    const button = element("button", attributes, "More");
    const toggle = (/** @type {boolean} */ isOpen) => {
      setVisible(sheet, isOpen);
      setAttr(button, "aria-expanded", String(isOpen));
    };
    button.addEventListener("click", () => toggle(sheet.hasAttribute("hidden")));
    sheet.addEventListener("click", () => toggle(false));
    sheet.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") toggle(false);
    });
    return [button, sheet];
  }

  /** @param {Place} one */
  function tabButton(one) {
    const key = keyOf(one);
    const { tab } = rowOf(one.name);
    const text = one.pin === "" ? tab : `${tab} ${one.pin}`;
    const { id } = panelOf(one).frame.section;
    const attributes = { type: "button", role: "tab", class: "tab", "data-key": key, "aria-controls": id };
    const button = element("button", { ...attributes, "data-testid": `tab-${key}` }, text);
    button.addEventListener("click", () => change(activated(tree.value, key)));
    return button;
  }

  /** @param {string} name */
  function rowOf(name) {
    return /** @type {PanelRow} */ (rows.find((row) => row.name === name));
  }

  /** @param {Place} one */
  function panelOf(one) {
    const key = keyOf(one);
    const known = panels.get(key);
    if (known !== undefined) return known;
    const noteMounted = () => {
      mounted.value += 1;
    };
    const panel = new PanelFrame(rowOf(one.name), key, modelOf(one.pin), frames, { ...context, openMenu }, noteMounted);
    panels.set(key, panel);
    return panel;
  }

  /** @param {string} pin */
  function modelOf(pin) {
    const model = models.get(pin) ?? panelModel(page, pin);
    models.set(pin, model);
    return model;
  }

  /**
   * Set the sizes, and which tabs are in front.
   * @param {Tree} current
   * @param {HTMLElement} node
   */
  function size(current, node) {
    node.style.flex = flexOf(current.size);
    setAttr(node, "data-auto", current.size.kind === "auto");
    if (current.kind !== "tabs") {
      const parts = /** @type {HTMLElement[]} */ ([...node.children].filter((child) => !child.matches(".splitter")));
      for (const [at, child] of current.children.entries()) size(child, parts[at]);
      for (const handle of node.querySelectorAll(":scope > .splitter"))
        setAttr(handle, "aria-valuenow", shareOf(handle));
      return;
    }
    const active = keyOf(current.places[current.active]);
    for (const one of current.places) panels.get(keyOf(one))?.setFront(keyOf(one) === active);
    for (const button of node.querySelectorAll("[role=tab]")) {
      const isActive = button.getAttribute("data-key") === active;
      setAttr(button, "aria-selected", String(isActive));
      setAttr(button, "tabindex", isActive ? 0 : -1);
    }
  }

  /**
   * @param {Split} parent
   * @param {number[]} path
   * @param {number} at the part after it
   */
  function splitter(parent, path, at) {
    const isRow = parent.kind === "row";
    const attributes = { class: "splitter", role: "separator", tabindex: 0, "aria-label": "Resize" };
    const node = element("div", { ...attributes, "aria-orientation": isRow ? "vertical" : "horizontal" });
    /** @param {number} by pixels from where the parts are now */
    const move = (by) => {
      const [before, after] = [node.previousElementSibling, node.nextElementSibling];
      if (before === null || after === null) return;
      const lengths = [before, after].map((part) => (isRow ? part.clientWidth : part.clientHeight));
      const bound = Math.min(lengths[1] - SIZE_PX_MIN, Math.max(SIZE_PX_MIN - lengths[0], by));
      change(resized(tree.value, path, sizesAfter(parent, at, lengths, bound)));
    };
    node.addEventListener("keydown", (event) => {
      const [back, on] = isRow ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
      if (event.key !== back && event.key !== on) return;
      event.preventDefault();
      move(event.key === on ? STEP_PX : -STEP_PX);
    });
    node.addEventListener("pointerdown", (event) => {
      node.setPointerCapture(event.pointerId);
      let from = isRow ? event.clientX : event.clientY;
      const moved = (/** @type {PointerEvent} */ next) => {
        const to = isRow ? next.clientX : next.clientY;
        move(to - from);
        from = to;
      };
      node.addEventListener("pointermove", moved);
      node.addEventListener("lostpointercapture", () => node.removeEventListener("pointermove", moved), { once: true });
    });
    return node;
  }

  /**
   * Keep another layout, and draw it.
   * @param {Tree} next
   */
  function change(next) {
    const text = layoutText(next);
    settings.set(setting(), text === layoutText(preset()) ? "" : text);
  }

  /** @param {string} key */
  async function openMenu(key) {
    const { openPanelMenu } = await import("./dialogs/panel_menu.js");
    const panel = panels.get(key);
    if (panel !== undefined) openPanelMenu(panel.frame, key, page, workspace);
  }

  const workspace = {
    rows,
    settings,
    change,
    /** The layout at this width. */
    get tree() {
      return tree.value;
    },
    /** The layout that is chosen by name, without the user's changes of it. */
    get preset() {
      return preset();
    },
    /** The setting that has the user's changes at this width. */
    get setting() {
      return setting();
    },
    /** The panel that has the whole place; "" for none. */
    get maximised() {
      return maximised.value;
    },
    /**
     * Give a panel the whole place, or all panels their own again.
     * @param {string} key
     */
    maximise(key) {
      maximised.value = maximised.value === key ? "" : key;
    },
    /** Give the panel that has the focus the whole place, or all panels their own again. */
    maximiseFocused() {
      const focused = document.activeElement?.closest(".panel")?.getAttribute("data-key");
      workspace.maximise(maximised.value || focused || keyOf(shown.value[0]));
    },
    /** The symbols on the screen, each with the further topics that its panels need.
     * @returns {Map<string, OtherTopic[]>}
     */
    get wanted() {
      /** @type {Map<string, OtherTopic[]>} */
      const wanted = new Map(page.selected === "" ? [] : [[page.selected, []]]);
      if (mounted.value < 0 || page.selected === "") return wanted;
      for (const one of shown.value) {
        const symbol = one.pin || page.selected;
        wanted.set(symbol, [...(wanted.get(symbol) ?? []), ...(panels.get(keyOf(one))?.topics ?? [])]);
      }
      return wanted;
    },
  };
  return workspace;
}

/**
 * @param {Place} place
 * @returns {Tabs}
 */
function tabsOf(place) {
  return { kind: "tabs", places: [place], active: 0, size: { kind: "share", value: 1 } };
}

/**
 * Return a layout's text without sizes and without what is in front: what its nodes are made for.
 * @param {Tree} tree
 */
function shapeOf(tree) {
  return layoutText(tree).replace(/[:*][\da.]+|!/g, "");
}

/** @param {Size} size */
function flexOf({ kind, value }) {
  if (kind === "auto") return "0 0 auto";
  return kind === "px" ? `0 1 ${value}px` : `${value} 1 0px`;
}

/**
 * Return how much of the room of both parts beside a splitter the first one has, in percent.
 * @param {Element} handle
 */
function shareOf(handle) {
  const isRow = handle.getAttribute("aria-orientation") === "vertical";
  const parts = [handle.previousElementSibling, handle.nextElementSibling];
  const [before, after] = parts.map((part) => (isRow ? part?.clientWidth : part?.clientHeight) ?? 0);
  return Math.round((100 * before) / Math.max(1, before + after));
}

/**
 * Return the sizes of the two parts beside a splitter after it has moved. A part with pixels keeps pixels; between two
 * that share what is left, the sum of their shares stays.
 * @param {Split} parent
 * @param {number} at
 * @param {number[]} lengths of both, in pixels
 * @param {number} by
 * @returns {Map<number, Size>}
 */
export function sizesAfter({ children }, at, [before, after], by) {
  const kinds = [children[at - 1].size, children[at].size];
  const next = [before + by, after - by];
  const isShared = kinds.every(({ kind }) => kind === "share");
  const sum = kinds[0].value + kinds[1].value;
  /** @type {[number, Size][]} */
  const sizes = kinds.flatMap((size, side) => {
    const value = isShared ? (sum * next[side]) / (before + after) : next[side];
    if (!isShared && size.kind === "share") return []; // it takes what is left
    return [[at - 1 + side, /** @type {Size} */ ({ kind: isShared ? "share" : "px", value })]];
  });
  return new Map(sizes);
}

/**
 * Move the focus along the tabs by an arrow key, and choose the one that gets it.
 * @param {KeyboardEvent} event
 * @param {HTMLElement} bar
 */
function stepTabs(event, bar) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step === undefined) return;
  const buttons = /** @type {HTMLElement[]} */ ([...bar.querySelectorAll(":scope > [role=tab]")]);
  const at = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const next = buttons[(at + step + buttons.length) % buttons.length];
  if (at < 0 || next === undefined) return;
  event.preventDefault();
  next.click();
  next.focus();
}
