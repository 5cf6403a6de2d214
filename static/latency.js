// The footer's latency line: the delay of each step from the exchange to the screen, and which is above its limit.

import { setAttr, setText } from "./dom.js";
import { Fetcher } from "./fetcher.js";
import { fixed } from "./format.js";

/** @import {Server} from "./data.js" */
/** @import {Page} from "./page_model.js" */
/** @import {Session} from "./session.js" */
/** @import {LatencyReport} from "./types.js" */

const LATENCY_MS = 10_000;

/** Short labels of the steps, by the server's names.
 * @type {Record<string, string>}
 */
const LABELS = {
  exchange: "from the exchange",
  applied: "into the book",
  published: "to the next view",
  bus: "through the bus",
  socket: "to the network",
  echo: "to the screen",
};
/** The steps that follow each other from the exchange to the screen; the others are parts of the last one. */
const CHAIN = ["exchange", "applied", "published", "echo"];

/**
 * Return the report of /api/latency as one line: how old what is on the screen usually is, or what the server sends
 * while no screen has reported yet, and which steps are slower than their limit; "" before anything was measured.
 * @param {Pick<LatencyReport, "hops" | "over_budget">} report
 */
export function latencyText({ hops, over_budget: over }) {
  const steps = hops.flatMap(({ hop, p50_ms: median, p99_ms: p99, budget_ms: budget }) =>
    median === null || p99 === null ? [] : [{ hop, median, p99, budget }],
  );
  if (steps.length === 0) return "";
  const usual = steps.filter(({ hop }) => CHAIN.includes(hop)).reduce((sum, { median }) => sum + median, 0);
  const goal = steps.some(({ hop }) => hop === "echo") ? "the screen" : "the server";
  const slow = steps
    .filter(({ hop }) => over.includes(hop))
    .map(({ hop, p99, budget }) => `${label(hop)} ${fixed(p99, 1)} ms, limit ${budget} ms`);
  return [`Exchange to ${goal}: about ${short(usual)} ms`, ...slow.map((text) => `slow: ${text}`)].join(" \u00b7 ");
}

/**
 * Return what each step is, and how exactly the exchange's clock is known.
 * @param {LatencyReport} report
 */
export function latencyTitle({ hops, clock_offset_ms: offset, clock_error_ms: error }) {
  const meanings = hops.map(
    ({ hop, meaning, p50_ms: median, p99_ms: p99, budget_ms: budget }) =>
      `${label(hop)}: ${meaning}; usually ${delay(median)}, 99 of 100 within ${delay(p99)}; limit ${budget} ms`,
  );
  const accuracy = error === null ? "estimated from event times" : `measured to ${short(error)} ms`;
  const sum = "The time on the line is the sum of the usual ones of the steps that follow each other.";
  return [sum, ...meanings, `The exchange's clock is ${short(offset)} ms ahead of the server's, ${accuracy}.`].join(
    "\n",
  );
}

/** @param {string} hop */
function label(hop) {
  return LABELS[hop] ?? hop;
}

/** @param {number | null} milliseconds */
function delay(milliseconds) {
  return milliseconds === null ? "not measured" : `${short(milliseconds)} ms`;
}

/** @param {number} milliseconds */
function short(milliseconds) {
  return fixed(milliseconds, Math.abs(milliseconds) < 10 ? 1 : 0);
}

/**
 * Request the report from now on while the connection is open and the tab seen, and paint it into `node`.
 * @param {HTMLElement} node
 * @param {Page} page
 * @param {Server} server
 * @param {Session["platform"]} platform
 */
export function startLatency(node, page, server, platform) {
  /** @type {Fetcher<LatencyReport>} */
  const fetcher = new Fetcher({ onData: paint, onChange: () => {}, platform });

  /** @param {LatencyReport} report */
  function paint(report) {
    setText(node, latencyText(report));
    setAttr(node, "title", latencyTitle(report));
    setAttr(node, "data-over", report.over_budget.join(" ") || null);
  }

  function request() {
    if (page.connection.phase === "open" && !document.hidden) fetcher.load(server.http("api/latency"));
  }

  setInterval(request, LATENCY_MS);
  request();
}
