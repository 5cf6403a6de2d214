// Which groups and which unit the ladder shows: the choice is kept in the settings. Automatic groups fill the rows, and
// are chosen anew when the symbol or the number of rows changes. While the display is paused they stand still.

import { element, find, setText } from "../../dom.js";
import { bookCommand } from "../../keys.js";
import { reactive } from "../../signals.js";
import {
  chosenMultiple,
  fittingMultiple,
  groupText,
  LEVELS,
  MULTIPLES,
  rowsFor,
  sourceOfGroups,
  sourceOfView,
  steppedChoice,
} from "./groups.js";

/** @import {OtherTopic} from "../../feed.js" */
/** @import {LadderMessage} from "../../liquidity_types.js" */
/** @import {PanelModel} from "../../page_model.js" */
/** @import {Settings} from "../../settings.js" */
/** @import {Source} from "./groups.js" */

/** @typedef {"base" | "quote"} Unit */

const GROUP = "group";
const UNIT = "unit";

/**
 * Create the controls in `section`.
 * @param {HTMLElement} section
 * @param {Settings} settings
 */
export function createGrouping(section, settings) {
  /** @type {HTMLSelectElement} */
  const group = find(section, ".ladder-group");
  /** @type {HTMLSelectElement} */
  const unit = find(section, ".ladder-unit");
  const state = reactive({ rows: rowsFor(0), fittedFor: "", fitted: 0 });
  /** @type {LadderMessage | null} */
  let held = null;
  let filledFor = "";
  let multiple = 0;

  group.addEventListener("change", () => settings.set(GROUP, group.value));
  unit.addEventListener("change", () => settings.set(UNIT, unit.value));
  document.addEventListener("keydown", (event) => {
    if (section.getClientRects().length === 0) return;
    const command = bookCommand(event);
    if (command === "coarser") settings.set(GROUP, steppedChoice(multiple, 1));
    if (command === "finer") settings.set(GROUP, steppedChoice(multiple, -1));
    if (command === "unit") settings.set(UNIT, settings.get(UNIT) === "quote" ? "" : "quote");
  });

  /** @param {string} symbol */
  function wanted(symbol) {
    const choice = settings.get(GROUP);
    if (choice === LEVELS) return 0;
    return chosenMultiple(choice) || (state.fittedFor === fitKey(symbol) ? state.fitted : MULTIPLES[0]);
  }

  /** @param {string} symbol */
  function fitKey(symbol) {
    return `${symbol} ${state.rows}`;
  }

  /** @param {NonNullable<PanelModel["instrument"]>} instrument */
  function fillControls(instrument) {
    const key = `${instrument.symbol} ${instrument.tick_size}`;
    if (key === filledFor) return;
    filledFor = key;
    const options = MULTIPLES.map((each) => option(String(each), groupText(each, instrument)));
    group.replaceChildren(option("", "Auto"), option(LEVELS, "Levels"), ...options);
    const { base_asset: base, quote_asset: quote } = instrument;
    unit.replaceChildren(option("", base || "base"), option("quote", quote || "quote"));
  }

  /** @param {PanelModel} model */
  function paintControls({ instrument }) {
    if (instrument === null) return;
    fillControls(instrument);
    const choice = settings.get(GROUP);
    const known = choice === LEVELS || chosenMultiple(choice) > 0 ? choice : "";
    setText(group.options[0], known === "" && multiple > 0 ? `Auto, ${groupText(multiple, instrument)}` : "Auto");
    if (group.value !== known) group.value = known;
    if (unit.value !== settings.get(UNIT)) unit.value = settings.get(UNIT);
  }

  /**
   * Return the message that is on the screen: while the display is paused the one that was.
   * @param {PanelModel} model
   */
  function messageOf(model) {
    const topic = `ladder.${model.selected}.${wanted(model.selected)}`;
    const newest = /** @type {LadderMessage | null} */ (model.message(topic));
    if (model.paused === null) held = newest;
    return held?.topic === topic ? held : null;
  }

  /**
   * Note the groups that fit, and return whether those of the message are the ones wanted.
   * @param {string} symbol
   * @param {LadderMessage | null} message
   */
  function fit(symbol, message) {
    const key = fitKey(symbol);
    const fitting = fittingMultiple(message, state.rows);
    if (fitting > 0 && state.fittedFor !== key) Object.assign(state, { fitted: fitting, fittedFor: key });
    return message !== null && message.ladder.multiple === wanted(symbol);
  }

  return {
    /** @returns {Unit} */
    get unit() {
      return settings.get(UNIT) === "quote" ? "quote" : "base";
    },
    /** @param {number} count how many rows a side there is room for */
    setRows(count) {
      state.rows = rowsFor(count);
    },
    /**
     * @param {PanelModel} model
     * @returns {OtherTopic[]}
     */
    topics({ selected }) {
      const each = wanted(selected);
      return each === 0 ? [] : [{ topic: `ladder.${selected}.${each}`, rows: state.rows }];
    },
    /**
     * Return what to show: groups where their message is there, else the levels of the view. `multiple` is 0 for these.
     * @param {PanelModel} model
     * @returns {{source: Source, multiple: number, message: LadderMessage | null}}
     */
    read(model) {
      const message = messageOf(model);
      const isWanted = fit(model.selected, message);
      const groups = message === null || !isWanted ? null : sourceOfGroups(message);
      multiple = groups === null ? 0 : wanted(model.selected);
      paintControls(model);
      return { source: groups ?? sourceOfView(model.view), multiple, message: groups === null ? null : message };
    },
  };
}

/**
 * @param {string} value
 * @param {string} text
 */
function option(value, text) {
  return element("option", { value }, text);
}
