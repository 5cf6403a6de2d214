// How a number on the screen came about: its figures, arithmetic, code and paper, as the server explains them for the
// view that is shown. What it says stays as it is while the dialog is open, whatever comes meanwhile.

import { ApiError, getJson } from "./api.js";
import { element, find, setText, setVisible } from "./dom.js";
import { figureText } from "./format.js";

/** @import {Server} from "./data.js" */
/** @import {Explanation} from "./liquidity_types.js" */

/** What the dialog says at once, without the server.
 * @typedef {{label: string, meaning: string, formula: string, bound: string}} Words
 */

/** The view that a number belongs to. @typedef {{symbol: string, seq: number, instance: string}} Shown */

/**
 * Return what opens the dialog on the `metrics` of a view.
 * @param {HTMLDialogElement} dialog
 * @param {Server} server
 */
export function createExplanation(dialog, server) {
  const working = find(dialog, ".explain-working");
  let opened = 0;

  /**
   * @param {Words} words
   * @param {string[]} metrics
   * @param {Shown | null} view
   */
  return async ({ label, meaning, formula, bound }, metrics, view) => {
    setText(find(dialog, "h2"), label);
    setText(find(dialog, ".explain-meaning"), meaning);
    setText(find(dialog, ".explain-formula"), formula);
    setText(find(dialog, ".explain-bound"), bound);
    working.replaceChildren();
    setVisible(working, view !== null);
    if (!dialog.open) dialog.showModal();
    if (view === null) return;
    opened += 1;
    const asked = opened;
    const { symbol, seq, instance } = view;
    const requests = metrics.map((metric) => server.http(`api/explain/${metric}`, { symbol, seq, instance }));
    const nodes = await workings(requests);
    if (asked === opened) working.replaceChildren(...nodes); // else another number has been opened meanwhile
  };
}

/** @param {string[]} requests */
async function workings(requests) {
  try {
    const answers = await Promise.all(requests.map((url) => getJson(url)));
    return answers.map((answer) => workingOf(/** @type {Explanation} */ (answer)));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return [element("p", { class: "explain-failed", role: "status" }, error.message)];
  }
}

/** @param {Explanation} explanation */
function workingOf({ inputs, arithmetic, value, unit, reason, module, source, seq, timestamp }) {
  const time = new Date(timestamp * 1000).toISOString().slice(11, 23);
  const result = reason === "" ? `${readable(arithmetic)} = ${figureText(value)} ${unit}` : reason;
  const rows = inputs.map(({ name, meaning, value: each }) =>
    element(
      "div",
      { class: "explain-input" },
      element("dt", {}, name),
      element("dd", { class: "figure" }, figureText(each)),
      element("dd", {}, meaning),
    ),
  );
  return element(
    "section",
    { class: "explain-metric" },
    element("p", { class: "explain-arithmetic figure", "data-testid": "explain-arithmetic" }, result),
    element("dl", { class: "explain-inputs" }, ...rows),
    element("p", { class: "explain-source" }, `View ${seq} of ${time} UTC. Code: ${module}. Source: ${source}.`),
  );
}

/**
 * Return an arithmetic as people write it.
 * @param {string} arithmetic
 */
export function readable(arithmetic) {
  return arithmetic.replaceAll(" * ", " \u00d7 ").replaceAll(" / ", " \u00f7 ").replaceAll(" - ", " \u2212 ");
}
