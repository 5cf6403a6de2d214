// Pointing at the chart with the mouse, a finger or a pen, while a tool is active: a line at the pressed price, or the
// ruler from where it was pressed to where it was let go. It reports points and draws the ruler's box.

import { element, setText, setVisible } from "../../dom.js";

/** @import {Point} from "./measure.js" */

/** @typedef {{x: number, y: number}} Place */

/**
 * Create the pointer over `body`, the box that the chart fills.
 * @param {HTMLElement} body
 * @param {object} options
 * @param {(x: number, y: number) => Point | null} options.pointAt
 * @param {(point: Point) => Place | null} options.placeOf
 * @param {(point: Point) => void} options.onLine
 * @param {(from: Point, to: Point) => string} options.measure returns what lies between two points
 */
export function createRuler(body, { pointAt, placeOf, onLine, measure }) {
  const shape = element("div", { class: "ruler-shape" });
  const text = element("p", { class: "ruler-text figure", role: "status", "data-testid": "ruler-text" });
  const sheet = element("div", { class: "chart-sheet", hidden: true, "data-testid": "chart-sheet" }, shape, text);
  body.append(sheet);
  let mode = /** @type {"" | "line" | "ruler"} */ ("");
  /** @type {Point | null} */
  let from = null;
  /** @type {Point | null} */
  let to = null;
  let isPressed = false;

  /** @param {PointerEvent} event */
  function pointOf(event) {
    const box = sheet.getBoundingClientRect();
    return pointAt(event.clientX - box.left, event.clientY - box.top);
  }

  sheet.addEventListener("pointerdown", (event) => {
    const point = pointOf(event);
    if (point === null) return;
    event.preventDefault();
    if (mode === "line") return onLine(point);
    sheet.setPointerCapture(event.pointerId);
    [from, to, isPressed] = [point, point, true];
    draw();
  });
  sheet.addEventListener("pointermove", (event) => {
    if (!isPressed) return;
    to = pointOf(event) ?? to;
    draw();
  });
  sheet.addEventListener("pointerup", () => {
    isPressed = false;
  });

  function draw() {
    const [start, end] = [from && placeOf(from), to && placeOf(to)];
    setVisible(shape, start !== null && end !== null);
    setText(text, from !== null && to !== null ? measure(from, to) : hint());
    if (start === null || end === null) return;
    shape.style.left = `${Math.min(start.x, end.x)}px`;
    shape.style.top = `${Math.min(start.y, end.y)}px`;
    shape.style.width = `${Math.abs(end.x - start.x)}px`;
    shape.style.height = `${Math.abs(end.y - start.y)}px`;
    shape.dataset.side = (to?.price ?? 0) < (from?.price ?? 0) ? "ask" : "bid";
  }

  function hint() {
    return mode === "line"
      ? "Press where the line is to be; press on a line to take it away"
      : "Press and drag to measure";
  }

  return {
    /** @param {"" | "line" | "ruler"} name */
    activate(name) {
      if (name === mode) return;
      mode = name;
      [from, to, isPressed] = [null, null, false];
      setVisible(sheet, mode !== "");
      draw();
    },
    /**
     * Measure between these points, which were chosen by keys.
     * @param {Point} start
     * @param {Point} end
     */
    show(start, end) {
      [from, to] = [start, end];
      draw();
    },
    draw,
  };
}
