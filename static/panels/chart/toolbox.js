// The layers of the chart and its tools: layers and zone are settings, the table takes the chart's place. Loaded after
// the candles.

import { find, setVisible } from "../../dom.js";
import { reachesDayStart } from "../../indicators.js";
import { zoneOf } from "../../time_zone.js";
import { createLayers, isFor, LAYERS, needsDay } from "./layers.js";
import { createTable } from "./table.js";
import { createTools } from "./tools.js";

/** @import * as Charts from "lightweight-charts" */
/** @import {Interval} from "../../intervals.js" */
/** @import {Frame} from "../../panel_frame.js" */
/** @import {Settings} from "../../settings.js" */
/** @import {Bar} from "../../state.js" */
/** @import {Instrument} from "../../types.js" */
/** @import {createDrawing} from "./drawing.js" */

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

/**
 * Create the tools of the chart in `frame`, over its `drawing`.
 * @param {Frame} frame
 * @param {{body: HTMLElement}} nodes
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
    onTable: toggleTable,
  });
  const table = createTable(nodes.body);
  const isLow = nodes.body.clientHeight < PANES_FROM_PX;
  let isTable = false;

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

  function toggleTable() {
    isTable = !isTable;
    setVisible(table.frame, isTable);
    repaint();
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
    /** @param {Shown} shown */
    paint({ bars, live, instrument, interval, symbol, zone }) {
      const { stepSeconds } = interval;
      tools.paint(
        chosenLayers(),
        (name) => LAYERS.some((one) => one.name === name && isFor(one, stepSeconds)),
        isTable,
      );
      tools.paintZone(zoneOf(settings.get("zone")));
      if (isTable) table.paint(bars, live, instrument, zone, `${symbol}, ${interval.title}`);
    },
  };
}
