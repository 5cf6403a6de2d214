// The footer's latency line: the delay of each step from the exchange to the screen, and which is above its limit.

import { setAttr, setText, setVisible } from "../dom.js";
import { fixed } from "../format.js";

/** @import {PanelModel} from "../page_model.js" */
/** @import {LatencyReport} from "../types.js" */

/** Short labels of the steps, by the server's names.
 * @type {Record<string, string>}
 */
const LABELS = {
  exchange: "exchange",
  applied: "book",
  published: "publish",
  bus: "bus",
  socket: "send",
  echo: "screen",
};

/**
 * Return the report of /api/latency as one line, median and 99th percentile in ms; "" before anything was measured.
 * @param {Pick<LatencyReport, "hops" | "over_budget">} report
 */
export function latencyText({ hops, over_budget: over }) {
  const steps = hops.flatMap(({ hop, p50_ms: median, p99_ms: p99, budget_ms: budget }) => {
    if (median === null || p99 === null) return [];
    // With a decimal, so that 10.4 does not read "10 (limit 10)".
    const most = over.includes(hop) ? `${fixed(p99, 1)} (limit ${budget})` : short(p99);
    return [`${label(hop)} ${short(median)}/${most}`];
  });
  return steps.length === 0 ? "" : `Latency p50/p99, ms: ${steps.join(" \u00b7 ")}`;
}

/**
 * Return what each step is, and how exactly the exchange's clock is known.
 * @param {LatencyReport} report
 */
export function latencyTitle({ hops, clock_offset_ms: offset, clock_error_ms: error }) {
  const meanings = hops.map(
    ({ hop, meaning, budget_ms: budget }) => `${label(hop)}: ${meaning}; p99 limit ${budget} ms`,
  );
  const accuracy = error === null ? "estimated from event times" : `measured to ${short(error)} ms`;
  return [...meanings, `The exchange's clock is ${short(offset)} ms ahead of the server's, ${accuracy}.`].join("\n");
}

/** @param {string} hop */
function label(hop) {
  return LABELS[hop] ?? hop;
}

/** @param {number} milliseconds */
function short(milliseconds) {
  return fixed(milliseconds, Math.abs(milliseconds) < 10 ? 1 : 0);
}

/**
 * Paint into `node`.
 * @param {HTMLElement} node
 */
export function createLatency(node) {
  return {
    /** @param {PanelModel} model */
    paint({ latency }) {
      if (latency === null) return;
      const text = latencyText(latency);
      setVisible(node, text !== "");
      setText(node, text);
      setAttr(node, "title", latencyTitle(latency));
      setAttr(node, "data-over", latency.over_budget.join(" ") || null);
    },
  };
}
