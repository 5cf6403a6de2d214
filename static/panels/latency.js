// The footer's line on delays: how long each hop from the exchange to this page takes, and which is over its budget.

import { attribute, show, write } from "../dom.js";
import { fixed } from "../format.js";

/** The report of /api/latency as one line, median and 99th percentile in ms; empty while nothing has been measured. */
export function latencyWords({ hops, over_budget: over }) {
  const known = hops.filter(({ p50_ms: median }) => median !== null);
  const told = known.map(({ hop, p50_ms: median, p99_ms: most }) => {
    return `${hop} ${short(median)}/${short(most)}${over.includes(hop) ? " (slow)" : ""}`;
  });
  return told.length === 0 ? "" : `Delay, p50/p99 ms: ${told.join(" \u00b7 ")}`;
}

/** What each hop is, and how good the exchange's clock is known, for who points at the line. */
export function latencyTitle({ hops, clock_offset_ms: offset, clock_error_ms: error }) {
  const meanings = hops.map(({ hop, meaning, budget_ms: budget }) => `${hop}: ${meaning}, p99 below ${budget} ms`);
  const known = error === null ? "known from events alone" : `known to ${short(error)} ms`;
  return [...meanings, `the exchange's clock is ${short(offset)} ms ahead of the server's, ${known}`].join("\n");
}

function short(milliseconds) {
  return fixed(milliseconds, Math.abs(milliseconds) < 10 ? 1 : 0);
}

/** Paints into `node`. */
export function createLatency(node) {
  return {
    paint({ latency }) {
      if (latency === null) return;
      const words = latencyWords(latency);
      show(node, words !== "");
      write(node, words);
      attribute(node, "title", latencyTitle(latency));
      attribute(node, "data-over", latency.over_budget.join(" ") || null);
    },
  };
}
