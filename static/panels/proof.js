// The proof: the shield beside the state, and the dialog behind it. It paints the texts of proof_text.js and reports
// that the user opens or closes the dialog; requesting the proof is the caller's business.

import { element, find, setAttr, setText, setVisible } from "../dom.js";
import { utcTime } from "../format.js";
import { errorText, facts, incidentCountText, incidentList, leadText, shield } from "../proof_text.js";

/** @import {PanelModel} from "../page_model.js" */
/** @import {Fact, IncidentText, Version, VersionRow} from "../proof_text.js" */

/** @typedef {ReturnType<typeof findNodes>} Nodes */

/**
 * Paint the shield in `root` and the proof into `dialog`; `everyMs` is how often it is requested while open.
 * @param {HTMLElement} root
 * @param {HTMLDialogElement} dialog
 * @param {{everyMs: number, onOpen: () => void, onClose: () => void}} options
 */
export function createProof(root, dialog, { everyMs, onOpen, onClose }) {
  const nodes = findNodes(root, dialog);
  /** @type {Map<string, HTMLElement>} */
  const factNodes = new Map();
  let paintedIncidents = ""; // as JSON: the list is rebuilt only when it differs

  nodes.shield.addEventListener("click", open);
  dialog.addEventListener("close", onClose); // the browser gives the focus back to what had it

  function open() {
    if (dialog.open) return;
    onOpen();
    dialog.showModal();
  }

  /** @param {IncidentText[]} incidents */
  function paintIncidents(incidents) {
    const text = JSON.stringify(incidents);
    if (text === paintedIncidents) return;
    paintedIncidents = text;
    nodes.incidents.replaceChildren(...incidents.map(incidentItem));
  }

  /** @param {Fact} fact */
  function paintFact({ name, term, text, holds }) {
    const node = factNodes.get(name) ?? addFact(nodes.facts, name, term);
    factNodes.set(name, node);
    setAttr(node, "data-holds", holdsText(holds));
    setText(node, text);
  }

  return {
    open,
    /**
     * Paint the part that changes with time; its text seldom does.
     * @param {PanelModel} model
     */
    paintShield(model) {
      const { isVerified, text, reason } = shield(model);
      setAttr(nodes.shield, "data-verified", isVerified ? "yes" : "no");
      setAttr(nodes.shield, "title", reason || null);
      setText(nodes.shieldText, text);
      setText(nodes.reason, reason);
    },
    /** @param {PanelModel} model */
    paint({ selected, proof, proofError }) {
      const readAt = proof === null ? "" : `${utcTime(proof.readAtMs)} UTC`;
      setText(nodes.symbol, proof?.body.symbol ?? selected);
      setVisible(nodes.error, proofError !== "");
      setText(nodes.error, proofError === "" ? "" : errorText(proofError, readAt, everyMs));
      setVisible(nodes.lead, proof !== null || proofError === "");
      setVisible(nodes.body, proof !== null);
      setAttr(dialog, "data-old", proof !== null && proofError !== "");
      setAttr(dialog, "data-state", proof?.body.state);
      if (proof === null) return setText(nodes.lead, "Loading the proof.");
      const { body, url, instrument } = proof;
      setAttr(dialog, "data-unconfirmed", body.proof.silent_checks.length > 0);
      setText(nodes.lead, leadText(body));
      for (const fact of facts(body, instrument)) paintFact(fact);
      setText(nodes.count, incidentCountText(body));
      paintIncidents(incidentList(body, instrument));
      setText(nodes.read, `Read at ${readAt}`);
      setAttr(nodes.raw, "href", url);
    },
  };
}

/**
 * @param {HTMLElement} root
 * @param {HTMLDialogElement} dialog
 */
function findNodes(root, dialog) {
  return {
    shield: find(root, ".shield"),
    shieldText: find(root, ".shield-text"),
    reason: find(root, ".shield-reason"),
    symbol: find(dialog, ".proof-symbol"),
    error: find(dialog, ".proof-error"),
    lead: find(dialog, ".proof-lead"),
    body: find(dialog, ".proof-body"),
    facts: find(dialog, ".facts"),
    count: find(dialog, ".incidents-count"),
    incidents: find(dialog, ".incidents"),
    read: find(dialog, ".proof-read"),
    raw: find(dialog, ".proof-raw"),
  };
}

/** @param {boolean | null} holds */
function holdsText(holds) {
  if (holds === null) return null;
  return holds ? "yes" : "no";
}

/**
 * @param {HTMLElement} list
 * @param {string} name
 * @param {string} term
 */
function addFact(list, name, term) {
  const text = element("dd", { "data-fact": name });
  list.append(element("div", { class: "fact" }, element("dt", {}, term), text));
  return text;
}

/** @param {IncidentText} incident */
function incidentItem({ cause, time, title, reason, versions }) {
  const head = element("p", { class: "incident-head" }, element("strong", {}, title), " ", element("span", {}, time));
  const text = element("p", { class: "incident-reason" }, reason);
  const tables = element("div", { class: "versions" }, ...versions.map(versionTable));
  return element("li", { class: "incident", "data-testid": "incident", "data-cause": cause }, head, text, tables);
}

/** @param {Version} version */
function versionTable({ name, caption, rows }) {
  const isLabelled = rows.some(({ label }) => label !== "");
  const isSized = rows.some(({ size }) => size !== "");
  /** @param {string} text */
  const column = (text) => element("th", { scope: "col" }, text);
  const heads = isSized ? [...(isLabelled ? [column("Side")] : []), column("Price"), column("Size")] : [];
  /** @param {VersionRow} row */
  const line = ({ label, price, size, differs }) =>
    element(
      "tr",
      { "data-differs": differs },
      ...(isLabelled ? [element("th", { scope: "row" }, label)] : []),
      element("td", {}, price),
      ...(isSized ? [element("td", {}, size)] : []),
    );
  return element(
    "table",
    { class: "version", "data-version": name },
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows.map(line)),
  );
}
