// The proof of the order book, as a dialog: it is requested while it is open, and painted as it arrives. The shield
// that opens it is in strip.js, the texts are in proof_text.js.

import { element, find, setAttr, setText, setVisible } from "../dom.js";
import { Fetcher } from "../fetcher.js";
import { utcTime } from "../format.js";
import { followed } from "../page_model.js";
import { errorText, facts, incidentCountText, incidentList, leadText } from "./proof_text.js";

/** @import {Server} from "../data.js" */
/** @import {Page} from "../page_model.js" */
/** @import {Session} from "../session.js" */
/** @import {ProofReport, SymbolInfo} from "../types.js" */
/** @import {Fact, IncidentText, Version, VersionRow} from "./proof_text.js" */

const PROOF_MS = 2_000; // how often the proof is requested while its dialog is open

/** A proof, when it was read, and its symbol's description.
 * @typedef {{body: ProofReport, readAtMs: number, url: string, instrument: SymbolInfo | undefined}} ShownProof
 */

/**
 * Return what opens `dialog`.
 * @param {HTMLDialogElement} dialog
 * @param {Page} page
 * @param {Server} server
 * @param {Session["platform"]} platform
 */
export function createProof(dialog, page, server, platform) {
  const nodes = findNodes(dialog);
  /** @type {Map<string, HTMLElement>} */
  const factNodes = new Map();
  let paintedIncidents = ""; // as JSON: the list is rebuilt only when it differs
  /** @type {ShownProof | null} */
  let shown = null;
  let timer = 0;
  /** @type {Fetcher<ProofReport, string>} */
  const fetcher = new Fetcher({
    onData: (body, symbol) => {
      shown = { body, readAtMs: Date.now(), url: url(symbol), instrument: followed(page, symbol) };
      paint();
    },
    onChange: () => paint(),
    platform,
  });
  dialog.addEventListener("close", () => {
    clearInterval(timer);
    fetcher.stop();
  }); // the browser gives the focus back to what had it

  /** @param {string} symbol */
  function url(symbol) {
    return server.http(`api/proof/${encodeURIComponent(symbol)}`);
  }

  function request() {
    if (page.selected !== "" && fetcher.status.phase !== "loading") fetcher.load(url(page.selected), page.selected);
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

  function paint() {
    const { reason } = fetcher.status;
    const readAt = shown === null ? "" : `${utcTime(shown.readAtMs)} UTC`;
    setText(nodes.symbol, shown?.body.symbol ?? page.selected);
    setVisible(nodes.error, reason !== "");
    setText(nodes.error, reason === "" ? "" : errorText(reason, readAt, PROOF_MS));
    setVisible(nodes.lead, shown !== null || reason === "");
    setVisible(nodes.body, shown !== null);
    setAttr(dialog, "data-old", shown !== null && reason !== "");
    setAttr(dialog, "data-state", shown?.body.state);
    if (shown === null) return setText(nodes.lead, "Loading the proof.");
    const { body, instrument } = shown;
    setAttr(dialog, "data-unconfirmed", body.proof.silent_checks.length > 0);
    setText(nodes.lead, leadText(body));
    for (const fact of facts(body, instrument)) paintFact(fact);
    setText(nodes.count, incidentCountText(body));
    paintIncidents(incidentList(body, instrument));
    setText(nodes.read, `Read at ${readAt}`);
    setAttr(nodes.raw, "href", shown.url);
  }

  return () => {
    if (dialog.open) return;
    shown = null;
    timer = window.setInterval(request, PROOF_MS);
    request();
    paint();
    dialog.showModal();
  };
}

/** @param {HTMLDialogElement} dialog */
function findNodes(dialog) {
  return {
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
