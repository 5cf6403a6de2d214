// The frame around a panel: its section, head and status, its module, which is loaded when it is first shown, and its
// painters. It knows no panel by name.

import { element, setAttr, setText, setVisible } from "./dom.js";
import { ageNote, silentKinds } from "./streams.js";

/** @import {Commands} from "./commands.js" */
/** @import {ServerData, Server} from "./data.js" */
/** @import {OtherTopic} from "./feed.js" */
/** @import {PanelModel} from "./page_model.js" */
/** @import {PanelRow} from "./panels/table.js" */
/** @import {Session} from "./session.js" */
/** @import {Settings} from "./settings.js" */
/** @import {createFrames, Painter} from "./signals.js" */
/** @import {BookStatus} from "./state.js" */
/** @import {StreamKind} from "./types.js" */

/** What a panel fills. `id` makes an id that no other panel has; `streamAge` makes a note for the head that shows the
 * age of one of the exchange's streams.
 * @typedef {object} Frame
 * @property {HTMLElement} section
 * @property {HTMLElement} head
 * @property {HTMLElement} body
 * @property {HTMLElement} heading
 * @property {(name: string) => string} id
 * @property {(kind: StreamKind, testId: string) => HTMLElement} streamAge
 */

/** What a panel may use. `repaint` requests a paint of this panel, for what is not a signal, such as its size.
 * @typedef {object} PageContext
 * @property {Commands} commands
 * @property {ServerData} data
 * @property {Settings} settings
 * @property {Server} server
 * @property {Session["platform"]} platform
 * @property {(key: string) => void} openMenu
 */

/** @typedef {PageContext & {repaint: () => void}} PanelContext */

/** A panel. Its painters are called again when something of the model that they have read has changed: `paint` for
 * data, `paintTime` for what also changes with time alone. A paced panel is painted at most every TICK_MS, unless it
 * is urgent. `topics` names further topics that it needs now; what it reads is noticed, too. `stop` ends what the
 * panel does outside its painters.
 * @typedef {object} Panel
 * @property {(model: PanelModel) => void} paint
 * @property {(model: PanelModel) => void} [paintTime]
 * @property {boolean} [isPaced]
 * @property {(model: PanelModel) => boolean} [isUrgent]
 * @property {(model: PanelModel) => OtherTopic[]} [topics]
 * @property {() => void} [start] when it is shown, also again
 * @property {() => void} [stop] when it is hidden
 */

/** The module of a panel.
 * @typedef {{mount: (frame: Frame, context: PanelContext) => Panel | Promise<Panel>}} PanelModule
 */

let framesMade = 0;

/** One panel on the page. */
export class PanelFrame {
  #row;
  #model;
  #frames;
  #context;
  /** @type {Panel | null} */
  #panel = null;
  /** @type {Promise<Panel | null> | null} */
  #loading = null;
  /** @type {Painter[]} */
  #painters = [];
  #isShown = false;
  #onMounted;
  #pin = element("span", { class: "panel-pin" });

  /**
   * @param {PanelRow} row
   * @param {string} key
   * @param {PanelModel} model of the panel's symbol
   * @param {ReturnType<typeof createFrames>} frames
   * @param {PageContext} context
   * @param {() => void} onMounted when its module has been loaded
   */
  constructor(row, key, model, frames, context, onMounted) {
    this.#row = row;
    this.#model = model;
    this.#frames = frames;
    this.#context = context;
    this.#onMounted = onMounted;
    framesMade += 1;
    const prefix = `${row.name}-${framesMade}`;
    const heading = element("h2", { id: `${prefix}-heading` }, row.title);
    const head = element("div", { class: "panel-notes" });
    const body = element("div", { class: "panel-body" });
    const label = `${row.title}: maximise, hide or pin`;
    const menu = element("button", { type: "button", class: "panel-menu", "aria-haspopup": "dialog", title: label });
    menu.append(element("span", { class: "unseen" }, label), "\u22ef");
    menu.addEventListener("click", () => context.openMenu(key));
    const names = { "aria-labelledby": heading.id, "data-testid": `${row.name}-panel`, "data-key": key };
    const top = element("header", { class: "panel-head" }, heading, this.#pin, head, menu);
    /** @type {Frame} */
    this.frame = {
      section: element("section", { id: prefix, class: `panel ${row.name}`, ...names }, top, body),
      head,
      body,
      heading,
      id: (name) => `${prefix}-${name}`,
      streamAge: (kind, testId) =>
        element("p", { class: "panel-note stream-age", "data-stream": kind, "data-testid": testId }),
    };
  }

  /** Load the panel if it has not been, and paint it from now on. */
  async show() {
    if (this.#isShown) return;
    this.#isShown = true;
    this.#add(() => this.#paintFrame());
    this.#loading ??= this.#load();
    this.#panel = await this.#loading;
    // It may have been hidden meanwhile, and shown again.
    if (this.#panel === null || !this.#isShown || this.#painters.length > 1) return;
    this.#start(this.#panel);
    this.#onMounted();
  }

  /** @param {boolean} isFront whether it is in front of its tabs */
  setFront(isFront) {
    setVisible(this.frame.section, isFront);
  }

  /** Paint it no longer. */
  hide() {
    if (!this.#isShown) return;
    this.#isShown = false;
    for (const painter of this.#painters) painter.stop();
    this.#painters = [];
    this.#panel?.stop?.();
  }

  /** The further topics that it needs now. */
  get topics() {
    return this.#panel?.topics?.(this.#model) ?? [];
  }

  /** @returns {Promise<Panel | null>} */
  async #load() {
    const [module] = await Promise.all([this.#module(), this.#style()]);
    if (module === null) return null;
    const repaint = () => {
      for (const painter of this.#painters) painter.request();
    };
    return module.mount(this.frame, { ...this.#context, repaint });
  }

  async #module() {
    try {
      return await this.#row.load();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // how browsers report a module that did not come
      this.frame.body.append(element("p", { class: "panel-failed", role: "alert" }, failedText(this.#row.title)));
      return null;
    }
  }

  /** Load the panel's own style sheet, unless the page has it already. */
  async #style() {
    if (getComputedStyle(this.frame.section).getPropertyValue("--styled") !== "") return;
    const href = new URL(`./panels/${this.#row.name}/panel.css`, import.meta.url).href;
    const link = element("link", { rel: "stylesheet", href });
    await new Promise((resolve) => {
      link.addEventListener("load", resolve);
      link.addEventListener("error", resolve); // unstyled is better than absent
      document.head.append(link);
    });
  }

  /** @param {Panel} panel */
  #start(panel) {
    const { isPaced, isUrgent, paintTime } = panel;
    this.#add(() => panel.paint(this.#model), {
      isPaced,
      isUrgent: isUrgent === undefined ? undefined : () => isUrgent(this.#model),
    });
    if (paintTime !== undefined) this.#add(() => paintTime(this.#model));
    panel.start?.();
  }

  /** @type {ReturnType<typeof createFrames>["add"]} */
  #add(paint, pace) {
    const painter = this.#frames.add(paint, pace);
    this.#painters.push(painter);
    return painter;
  }

  /** Paint what its symbol's data is worth now: what is not trusted is dimmed, with the age of its stream. */
  #paintFrame() {
    const { section, head } = this.frame;
    const { status, nowMs, paused, selected } = this.#model;
    const silent = silentKinds(this.#model);
    setAttr(section, "data-state", status.kind);
    setAttr(section, "data-trusted", String(status.trusted));
    setAttr(section, "data-paused", String(paused !== null));
    setAttr(section, "data-silent", silent.join(" ") || null);
    setAttr(section, "data-symbol", selected || null);
    setText(this.#pin, this.#model.isPinned ? pinText(selected, status) : "");
    for (const note of head.querySelectorAll("[data-stream]")) {
      const kind = /** @type {StreamKind} */ (note.getAttribute("data-stream"));
      setText(note, ageNote(this.#model, kind, nowMs));
      setAttr(note, "data-old", silent.includes(kind) ? "" : null);
    }
  }
}

/**
 * Return what heads a pinned panel: its symbol, and why it is not live.
 * @param {string} symbol
 * @param {BookStatus} status
 */
function pinText(symbol, { trusted, text }) {
  return trusted ? symbol : `${symbol} \u00b7 ${text}`;
}

/** @param {string} title */
function failedText(title) {
  return `${title} could not be loaded. The server may have been replaced by another version: reload the page.`;
}
