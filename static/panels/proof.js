// The proof: the shield in the strip, and the dialog with the certificate behind it. It paints the words it gets from
// proof_text.js and reports that the reader opens or closes; asking the server is the roof's business.

import { factWords, incidentList, incidentsWords, leadWords, shield, troubleWords } from "../proof_text.js";
import { attribute, element, show, write } from "../dom.js";
import { utcTime } from "../format.js";

/** Paints the shield in `root` and into `dialog`; `onOpen()` and `onClose()` say when a certificate is wanted. */
export function createProof(root, dialog, { everyMs, onOpen, onClose }) {
  const find = (selector) => dialog.querySelector(selector);
  const nodes = {
    shield: root.querySelector(".shield"),
    words: root.querySelector(".shield-words"),
    reason: root.querySelector(".shield-reason"),
    symbol: find(".certificate-symbol"),
    trouble: find(".certificate-trouble"),
    lead: find(".certificate-lead"),
    body: find(".certificate-body"),
    facts: find(".facts"),
    count: find(".incidents-count"),
    incidents: find(".incidents"),
    read: find(".certificate-read"),
    raw: find(".certificate-raw"),
  };
  const facts = new Map(); // name -> the fact's nodes
  let told = ""; // the incidents on the screen: they are made anew only when they differ

  nodes.shield.addEventListener("click", open);
  dialog.addEventListener("close", () => {
    onClose();
    nodes.shield.focus();
  });

  function open() {
    if (dialog.open) return;
    onOpen();
    dialog.showModal();
  }

  function paintIncidents(body, instrument) {
    const words = incidentList(body, instrument);
    const text = JSON.stringify(words);
    if (text === told) return;
    told = text;
    nodes.incidents.replaceChildren(...words.map(incidentItem));
  }

  function paintFacts(words) {
    for (const { name, term, words: text, holds } of words) {
      if (!facts.has(name)) facts.set(name, addFact(nodes.facts, name, term));
      const node = facts.get(name);
      attribute(node, "data-holds", holds === null ? null : holds ? "yes" : "no");
      write(node, text);
    }
  }

  return {
    open,
    /** The part that changes with time; its words seldom do. */
    paintShield(view) {
      const { proven, words, reason } = shield(view);
      attribute(nodes.shield, "data-proven", proven ? "yes" : "no");
      attribute(nodes.shield, "title", reason || null);
      write(nodes.words, words);
      write(nodes.reason, reason);
    },
    /** `certificate` is `{body, readAtMs, url, instrument}`, null before one came; `trouble` why none newer did. */
    paint({ selected, certificate, trouble }) {
      const readAt = certificate === null ? "" : `${utcTime(certificate.readAtMs)} UTC`;
      write(nodes.symbol, certificate?.body.symbol ?? selected);
      show(nodes.trouble, trouble !== "");
      write(nodes.trouble, trouble === "" ? "" : troubleWords(trouble, readAt, everyMs));
      show(nodes.lead, certificate !== null || trouble === "");
      show(nodes.body, certificate !== null);
      attribute(dialog, "data-old", certificate !== null && trouble !== "");
      attribute(dialog, "data-state", certificate?.body.state ?? null);
      if (certificate === null) return void write(nodes.lead, "Asking the server for the certificate.");
      const { body, url, instrument } = certificate;
      write(nodes.lead, leadWords(body));
      paintFacts(factWords(body, instrument));
      write(nodes.count, incidentsWords(body));
      paintIncidents(body, instrument);
      write(nodes.read, `Read at ${readAt}`);
      attribute(nodes.raw, "href", url);
    },
  };
}

function addFact(list, name, term) {
  const words = element("dd", { "data-fact": name });
  list.append(element("div", { class: "fact" }, element("dt", {}, term), words));
  return words;
}

function incidentItem({ cause, time, title, reason, versions }) {
  const head = element("p", { class: "incident-head" }, element("strong", {}, title), " ", element("span", {}, time));
  const words = element("p", { class: "incident-reason" }, reason);
  const tables = element("div", { class: "versions" }, ...versions.map(versionTable));
  return element("li", { class: "incident", "data-testid": "incident", "data-cause": cause }, head, words, tables);
}

function versionTable({ name, caption, rows }) {
  const labelled = rows.some(({ label }) => label !== "");
  const sized = rows.some(({ size }) => size !== "");
  const column = (words) => element("th", { scope: "col" }, words);
  const heads = sized ? [...(labelled ? [column("Side")] : []), column("Price"), column("Size")] : [];
  const line = ({ label, price, size, differs }) =>
    element(
      "tr",
      { "data-differs": differs },
      ...(labelled ? [element("th", { scope: "row" }, label)] : []),
      element("td", {}, price),
      ...(sized ? [element("td", {}, size)] : []),
    );
  return element(
    "table",
    { class: "version", "data-version": name },
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows.map(line)),
  );
}
