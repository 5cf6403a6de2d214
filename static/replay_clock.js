// The clock of a replay: the moment of the recording that is on the screen, and how fast it passes. Pure.

import { utcSecond } from "./format.js";

/** @import {View} from "./types.js" */

const MEASURE_MS = 4_000; // how long the speed is measured

/** Where the measurement began, and the last one; 0 before the first.
 * @typedef {{instance: string, atMs: number, stampMs: number, speed: number}} Pace
 */

/** @type {Pace} */
export const NO_PACE = { instance: "", atMs: 0, stampMs: 0, speed: 0 };

/**
 * Return the pace after a view that was received at `nowMs`.
 * @param {Pace} pace
 * @param {Pick<View, "instance" | "timestamp">} view
 * @param {number} nowMs
 * @returns {Pace}
 */
export function paceAfter(pace, { instance, timestamp }, nowMs) {
  const stampMs = timestamp * 1000;
  const passedMs = nowMs - pace.atMs;
  // Another replay, or the same from the start.
  if (pace.instance !== instance || stampMs < pace.stampMs) return { instance, atMs: nowMs, stampMs, speed: 0 };
  if (passedMs < MEASURE_MS) return pace;
  return { instance, atMs: nowMs, stampMs, speed: (stampMs - pace.stampMs) / passedMs };
}

/**
 * Return date, time and speed of a replay as a clause; "" before its first view.
 * @param {Pick<View, "timestamp"> | null} view
 * @param {Pace} pace
 */
export function replayText(view, { speed }) {
  if (view === null) return "";
  return `${utcSecond(view.timestamp * 1000)} UTC${speedText(speed)}`;
}

/** @param {number} speed */
function speedText(speed) {
  if (speed === 0) return "";
  if (speed > 0.9 && speed < 1.1) return ", at its own speed";
  return `, ${speed < 10 ? speed.toFixed(1) : Math.round(speed)} times as fast`;
}
