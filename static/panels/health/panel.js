// The health panel: whether what is on the screen is true, how old it is, and what is missing of today. It requests
// what no other panel shows, while it is shown; its sentences are in text.js.

import { element, setAttr, setText } from "../../dom.js";
import { Fetcher } from "../../fetcher.js";
import { reactive } from "../../signals.js";
import { gapLine, incidentLine, latencyLine, proofLine, storeLine, streamLine } from "./text.js";

/** @import {Frame, Panel, PanelContext} from "../../panel_frame.js" */
/** @import {Coverage, LatencyReport} from "../../types.js" */
/** @import {Line} from "./text.js" */

const LATENCY_MS = 10_000;
const COVERAGE_MS = 60_000; // a day counts against the rate of requests as its candles do

/**
 * Create the panel.
 * @param {Frame} frame
 * @param {PanelContext} context
 * @returns {Panel}
 */
export function mount({ body }, { server, platform, commands }) {
  const known = reactive({
    latency: /** @type {LatencyReport | null} */ (null),
    coverage: /** @type {Coverage | null} */ (null),
  });
  /** @type {Fetcher<LatencyReport>} */
  const latency = new Fetcher({
    onData: (report) => {
      known.latency = report;
    },
    onChange: () => {},
    platform,
  });
  /** @type {Fetcher<Coverage>} */
  const coverage = new Fetcher({
    onData: (report) => {
      known.coverage = report;
    },
    onChange: () => {},
    platform,
  });
  const list = element("dl", { class: "health-lines values", "data-testid": "health" });
  const open = element("button", { type: "button", class: "tool", "data-testid": "health-proof" });
  open.append(element("span", {}, "Every comparison and incident"));
  open.addEventListener("click", () => commands.open.proof());
  body.append(list, element("p", { class: "health-more" }, open));
  /** @type {Map<string, {node: HTMLElement, text: HTMLElement}>} */
  const lines = new Map();
  /** @type {ReturnType<typeof setInterval>[]} */
  let timers = [];
  let symbol = "";

  function requestCoverage() {
    if (symbol !== "") coverage.load(server.http("api/coverage", { symbol }));
  }

  /** @param {Line} line */
  function paintLine({ name, term, text, holds }) {
    const line = lines.get(name) ?? addLine(list, name, term);
    lines.set(name, line);
    setAttr(line.node, "data-holds", holds === null ? "unknown" : String(holds));
    setText(line.text, text);
  }

  return {
    paint({ selected }) {
      if (symbol === selected) return;
      symbol = selected;
      known.coverage = null;
      requestCoverage();
    },
    paintTime(model) {
      paintLine(proofLine(model));
      paintLine(streamLine(model.view?.streams, model.nowMs - model.receivedAtMs));
      paintLine(latencyLine(known.latency));
      paintLine(storeLine(model.store));
      paintLine(gapLine(known.coverage));
      paintLine(incidentLine(model));
    },
    start() {
      const requestLatency = () => latency.load(server.http("api/latency"));
      timers = [setInterval(requestLatency, LATENCY_MS), setInterval(requestCoverage, COVERAGE_MS)];
      requestLatency();
      requestCoverage();
    },
    stop() {
      for (const timer of timers) clearInterval(timer);
      latency.stop();
      coverage.stop();
    },
  };
}

/**
 * @param {HTMLElement} list
 * @param {string} name
 * @param {string} term
 */
function addLine(list, name, term) {
  const text = element("dd", {});
  const node = element("div", { class: "health-line", "data-line": name }, element("dt", {}, term), text);
  list.append(node);
  return { node, text };
}
