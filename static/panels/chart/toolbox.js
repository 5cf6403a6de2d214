// The layers of the chart and what its tools do: layers and zone are settings, lines are kept for each symbol, the
// ruler measures, the table takes the chart's place, and the chart is saved as a file or a picture. Loaded after the
// candles.

import { element, find, setVisible } from "../../dom.js";
import { reachesDayStart } from "../../indicators.js";
import { zoneOf } from "../../time_zone.js";
import { createLayers, isFor, LAYERS, needsDay } from "./layers.js";
import { csvOf, linesOf, linesText, onTick, rulerText, toggledLine } from "./measure.js";
import { createRuler } from "./ruler.js";
import { createTable } from "./table.js";
import { createTools } from "./tools.js";

/** @import * as Charts from "lightweight-charts" */
/** @import {Interval} from "../../intervals.js" */
/** @import {Frame} from "../../panel_frame.js" */
/** @import {Settings} from "../../settings.js" */
/** @import {Bar} from "../../state.js" */
/** @import {Instrument} from "../../types.js" */
/** @import {createDrawing} from "./drawing.js" */
/** @import {Point} from "./measure.js" */
/** @import {ToolName} from "./tools.js" */

/** What the tools work on.
 * @typedef {object} Shown
 * @property {Bar[]} bars
 * @property {Bar | null} live
 * @property {Instrument} instrument
 * @property {Interval} interval
 * @property {string} symbol
 * @property {string} zone
 */

const LAYERS_SETTING = "chart.layers";
const NO_LAYERS = "none";
const FIRST_LAYERS = ["vwap", "delta", "cvd"];
const PANES_FROM_PX = 330; // a lower chart begins without panes of their own
const NEAR_PX = 5; // a line is pressed within this distance

/**
 * Create the tools of the chart in `frame`, over its `drawing`.
 * @param {Frame} frame
 * @param {{body: HTMLElement, spoken: HTMLElement}} nodes
 * @param {typeof Charts} charts
 * @param {ReturnType<typeof createDrawing>} drawing
 * @param {Settings} settings
 * @param {() => void} repaint
 */
export function createToolbox(frame, nodes, charts, drawing, settings, repaint) {
  const layers = createLayers(charts, drawing.chart, drawing.colour);
  const tools = createTools(find(frame.body, ".chart-tools-place"), {
    onLayer: toggleLayer,
    onZone: (zone) => settings.set("zone", zone),
    onTool: use,
  });
  const table = createTable(nodes.body);
  const ruler = createRuler(nodes.body, {
    pointAt: drawing.pointAt,
    placeOf: drawing.placeOf,
    onLine: ({ price }) => toggleLine(price),
    measure: (from, to) => (shown === null ? "" : rulerText(from, to, barsOf(shown), shown.instrument)),
  });
  const isLow = nodes.body.clientHeight < PANES_FROM_PX;
  /** @type {Set<ToolName>} */
  const active = new Set();
  /** @type {Shown | null} */
  let shown = null;
  /** @type {Point | null} */
  let from = null;
  let lines = "";

  function chosenLayers() {
    const text = settings.get(LAYERS_SETTING);
    if (text === "") return isLow ? FIRST_LAYERS.slice(0, 1) : FIRST_LAYERS;
    return LAYERS.map(({ name }) => name).filter((name) => text.split(",").includes(name));
  }

  /** @param {string} name */
  function toggleLayer(name) {
    const before = chosenLayers();
    const after = before.includes(name) ? before.filter((one) => one !== name) : [...before, name];
    settings.set(LAYERS_SETTING, after.length === 0 ? NO_LAYERS : after.join(","));
  }

  const linesSetting = () => `lines.${shown?.symbol}`;

  /** @param {number} price */
  function toggleLine(price) {
    if (shown === null) return;
    const known = linesOf(settings.get(linesSetting()));
    const next = toggledLine(known, onTick(price, shown.instrument), drawing.priceOver(NEAR_PX));
    settings.set(linesSetting(), linesText(next), { isShared: false });
  }

  /** @param {ToolName} name */
  function use(name) {
    if (name === "csv") saveBars();
    else if (name === "picture") savePicture();
    else toggle(name);
    repaint();
  }

  /** @param {"line" | "ruler" | "table"} name */
  function toggle(name) {
    const isOn = !active.has(name);
    active.clear(); // one at a time: each takes the pointer or the place of the chart
    if (isOn) active.add(name);
    ruler.activate(name === "table" || !isOn ? "" : name);
    setVisible(table.frame, isOn && name === "table");
  }

  function saveBars() {
    if (shown === null) return;
    const bars = barsOf(shown).filter((bar) => bar !== shown?.live);
    save(new Blob([csvOf(bars)], { type: "text/csv" }), `${fileName(shown)}.csv`);
  }

  function savePicture() {
    if (shown === null) return;
    const name = `${fileName(shown)}.png`;
    drawing.picture().toBlob((blob) => {
      if (blob !== null) save(blob, name);
    }, "image/png");
  }

  /** Leave the tool that is used; return whether there was one. */
  function leave() {
    const [name] = /** @type {Set<"line" | "ruler" | "table">} */ (active);
    from = null;
    if (name === undefined) return false;
    toggle(name);
    return true;
  }

  /**
   * @param {string} key
   * @param {Bar} pointed
   */
  function act(key, { time, close: price }) {
    if (key === "h") toggleLine(price);
    else if (key === "r") measureByKey({ time, price });
    else return false;
    return true;
  }

  /** @param {Point} point the first press begins at it, the second measures to it */
  function measureByKey(point) {
    if (!active.has("ruler")) toggle("ruler");
    if (from === null) from = point;
    else {
      ruler.show(from, point);
      from = null;
    }
  }

  return {
    /**
     * Draw the layers that are chosen, over bars of this key.
     * @param {string} key
     * @param {Bar[]} bars
     * @param {Bar | null} live
     * @param {Instrument} instrument
     * @param {number} stepSeconds
     */
    paintLayers(key, bars, live, instrument, stepSeconds) {
      layers.choose(chosenLayers(), key, instrument, stepSeconds);
      layers.paint(bars, live);
    },
    clear: () => layers.paint([], null),
    read: layers.read,
    /**
     * Whether a layer needs bars from further back: it is a sum over the day.
     * @param {Bar[]} bars
     * @param {number} stepSeconds
     */
    lacksDay: (bars, stepSeconds) => needsDay(chosenLayers(), stepSeconds) && !reachesDayStart(bars),
    /**
     * Measure from the pointed bar, draw a line at its close, or leave a tool; return whether the key was one of these.
     * @param {KeyboardEvent} event
     * @param {Bar | null} pointed
     */
    keyPressed({ key, ctrlKey, metaKey, altKey }, pointed) {
      if (ctrlKey || metaKey || altKey) return false;
      const isKnown = key === "Escape" ? leave() : pointed !== null && act(key, pointed);
      if (isKnown) repaint();
      return isKnown;
    },
    /** @param {Shown} next */
    paint(next) {
      shown = next;
      const { instrument, interval, symbol, zone } = next;
      const { stepSeconds } = interval;
      tools.paint(
        chosenLayers(),
        (name) => LAYERS.some((layer) => layer.name === name && isFor(layer, stepSeconds)),
        active,
      );
      tools.paintZone(zoneOf(settings.get("zone")));
      const text = settings.get(linesSetting());
      if (lines !== `${symbol} ${text}`) drawing.setLines(linesOf(text));
      lines = `${symbol} ${text}`;
      if (active.has("ruler")) ruler.draw();
      if (active.has("table")) table.paint(next.bars, next.live, instrument, zone, `${symbol}, ${interval.title}`);
    },
  };
}

/** @param {Shown} shown */
function barsOf({ bars, live }) {
  return live !== null && live.time > (bars.at(-1)?.time ?? -Infinity) ? [...bars, live] : bars;
}

/** @param {Shown} shown */
function fileName({ symbol, interval }) {
  return `${symbol}-${interval.name}`;
}

/**
 * Have the browser save `blob` as a file.
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000); // by then the browser has begun to read it
}
