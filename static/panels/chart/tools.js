// The chart's tools: which layers are drawn, the time zone, lines and ruler, the table, and the chart as a file. It
// reports what was pressed and shows what is chosen; what that does is the panel's business.

import { LAYERS } from "./layers.js";
import { closest, element, setAttr } from "../../dom.js";
import { zonesOffered } from "../../time_zone.js";

/** What a press does, by the name of the button.
 * @typedef {"line" | "ruler" | "table" | "csv" | "picture"} ToolName
 */

/** @type {{name: ToolName, text: string, title: string, isToggle: boolean}[]} */
const TOOLS = [
  { name: "line", text: "Line", title: "Draw a horizontal line, or take one away", isToggle: true },
  { name: "ruler", text: "Ruler", title: "Measure between two points", isToggle: true },
  { name: "table", text: "Table", title: "Show the candles as a table", isToggle: true },
  { name: "csv", text: "CSV", title: "Save the loaded candles as a file", isToggle: false },
  { name: "picture", text: "Picture", title: "Save the chart as a picture", isToggle: false },
];

/**
 * Create the tools in `host`.
 * @param {HTMLElement} host
 * @param {object} options
 * @param {(name: string) => void} options.onLayer
 * @param {(zone: string) => void} options.onZone
 * @param {(name: ToolName) => void} options.onTool
 */
export function createTools(host, { onLayer, onZone, onTool }) {
  const layers = LAYERS.map(({ name, title, meaning }) =>
    element("button", { type: "button", class: "chart-tool", "data-layer": name, title: meaning }, title),
  );
  const tools = TOOLS.map(({ name, text, title }) =>
    element("button", { type: "button", class: "chart-tool", "data-tool": name, title }, text),
  );
  const zone = element("select", { class: "chart-zone", "aria-label": "Time zone", "data-testid": "chart-zone" });
  const groups = [
    element("div", { class: "chart-tool-group", role: "group", "aria-label": "Layers" }, ...layers),
    element("div", { class: "chart-tool-group", role: "group", "aria-label": "Tools" }, ...tools, zone),
  ];
  const bar = element("div", { class: "chart-tools", "data-testid": "chart-tools" }, ...groups);
  host.append(bar);
  bar.addEventListener("click", (event) => {
    const { layer, tool } = closest(event, "button")?.dataset ?? {};
    if (layer !== undefined) onLayer(layer);
    if (tool !== undefined) onTool(/** @type {ToolName} */ (tool));
  });
  zone.addEventListener("change", () => onZone(zone.value));
  let shownZone = "";

  return {
    /**
     * @param {string[]} chosen the layers that are drawn
     * @param {(name: string) => boolean} exists whether the interval has a layer
     * @param {ReadonlySet<ToolName>} active
     */
    paint(chosen, exists, active) {
      for (const button of layers) {
        const name = button.dataset.layer ?? "";
        setAttr(button, "aria-pressed", String(chosen.includes(name)));
        button.disabled = !exists(name);
      }
      for (const [at, button] of tools.entries()) {
        if (TOOLS[at].isToggle) setAttr(button, "aria-pressed", String(active.has(TOOLS[at].name)));
      }
    },
    /** @param {string} name */
    paintZone(name) {
      if (name === shownZone) return;
      shownZone = name;
      const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
      zone.replaceChildren(...zonesOffered(own, name).map((one) => element("option", { value: one.name }, one.title)));
      zone.value = name;
    },
  };
}
