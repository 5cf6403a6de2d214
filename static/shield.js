// The shield beside the book's state: whether the book on the screen has been compared with the exchange's own quotes
// since it was joined, and nothing differed. Pure functions of what the server sent.

import { silentText } from "./streams.js";

/** @import {BookStatus} from "./state.js" */
/** @import {ProofCounts} from "./types.js" */

/** The counters when the book on the screen was joined; `join` identifies that book.
 * @typedef {{join: string, compared: number, differing: number}} Baseline
 */

/** The part of the counters that the baseline reads.
 * @typedef {Pick<ProofCounts, "touch_compared" | "touch_equal" | "top_compared" | "top_equal">} Comparisons
 */

/** The part of a view that the baseline reads.
 * @typedef {{instance: string, proof: Comparisons & Pick<ProofCounts, "contiguous_since_ms" | "resyncs">}} ProofView
 */

/**
 * Return the counters when the book of `view` was joined; the same object while that book goes on. Counters run from
 * the server's start and span books, so only what was added since counts.
 * @param {Baseline | null} known the baseline of the view `before`
 * @param {ProofView | null} before null when there is no earlier view
 * @param {ProofView} view
 * @returns {Baseline}
 */
export function baseline(known, before, view) {
  const { proof } = view;
  const join = `${view.instance} ${proof.contiguous_since_ms} ${proof.resyncs}`;
  if (known !== null && known.join === join) return known;
  // Between books nothing is compared, so counts seen there are exact. A server that never lost a book has one book.
  if (before !== null && before.instance === view.instance && before.proof.contiguous_since_ms === 0) {
    return { join, ...counts(before.proof) };
  }
  return before === null && proof.resyncs === 0 ? { join, compared: 0, differing: 0 } : { join, ...counts(proof) };
}

/** @param {Comparisons} proof */
function counts({ touch_compared: touch, touch_equal: touchEqual, top_compared: top, top_equal: topEqual }) {
  return { compared: touch, differing: touch - touchEqual + (top - topEqual) };
}

/**
 * Return the shield. It is full ("Verified") only when the newest view is live, the display is not paused, and the
 * exchange's own best bid and ask were compared since the book was joined, nothing differed, and no check is silent.
 * A paused display is never called verified now: it says what it was.
 * @param {object} model
 * @param {Pick<BookStatus, "trusted" | "text">} model.status
 * @param {{wasTrusted: boolean} | null} model.paused
 * @param {{proof: Comparisons & Pick<ProofCounts, "silent_checks">} | null} model.view
 * @param {Baseline | null} model.joined
 * @returns {{isVerified: boolean, text: string, reason: string}}
 */
export function shield({ status, paused, view, joined }) {
  const hollow = (/** @type {string} */ reason) => ({ isVerified: false, text: "Not verified", reason });
  if (paused !== null) {
    const then = shield({ status: { trusted: paused.wasTrusted, text: "not live" }, paused: null, view, joined });
    const when = "when the display was paused";
    return then.isVerified
      ? { isVerified: false, text: "Was verified", reason: when }
      : hollow(`${then.reason}, ${when}`);
  }
  if (!status.trusted || view === null || joined === null) return hollow(status.text);
  const { compared, differing } = counts(view.proof);
  if (differing > joined.differing) return hollow("differs from the exchange's own quotes");
  if (compared <= joined.compared) return hollow("not compared with the exchange's quotes yet");
  const silent = silentText(view.proof.silent_checks);
  if (silent !== "") return hollow(silent);
  return { isVerified: true, text: "Verified", reason: "" };
}
