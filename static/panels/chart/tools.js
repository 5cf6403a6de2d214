// The chart's tools: which layers are drawn, the time zone, and the table. It reports what was pressed and shows what
// is chosen; what that does is the panel's business.

import { LAYERS } from "./layers.js";
import { closest, element, setAttr } from "../../dom.js";
import { zonesOffered } from "../../time_zone.js";

/**
 * Create the tools in `host`.
 * @param {HTMLElement} host
 * @param {object} options
 * @param {(name: string) => void} options.onLayer
 * @param {(zone: string) => void} options.onZone
 * @param {() => void} options.onTable
 */
export function createTools(host, { onLayer, onZone, onTable }) {
  const layers = LAYERS.map(({ name, title, meaning }) =>
    element("button", { type: "button", class: "chart-tool", "data-layer": name, title: meaning }, title),
  );
  const tableTitle = "Show the candles as a table";
  const table = element(
    "button",
    { type: "button", class: "chart-tool", "data-tool": "table", title: tableTitle },
    "Table",
  );
  const zone = element("select", { class: "chart-zone", "aria-label": "Time zone", "data-testid": "chart-zone" });
  const groups = [
    element("div", { class: "chart-tool-group", role: "group", "aria-label": "Layers" }, ...layers),
    element("div", { class: "chart-tool-group", role: "group", "aria-label": "Tools" }, table, zone),
  ];
  const bar = element("div", { class: "chart-tools", "data-testid": "chart-tools" }, ...groups);
  host.append(bar);
  bar.addEventListener("click", (event) => {
    const { layer, tool } = closest(event, "button")?.dataset ?? {};
    if (layer !== undefined) onLayer(layer);
    if (tool !== undefined) onTable();
  });
  zone.addEventListener("change", () => onZone(zone.value));
  let shownZone = "";

  return {
    /**
     * @param {string[]} chosen the layers that are drawn
     * @param {(name: string) => boolean} exists whether the interval has a layer
     * @param {boolean} isTable whether the table is shown
     */
    paint(chosen, exists, isTable) {
      for (const button of layers) {
        const name = button.dataset.layer ?? "";
        setAttr(button, "aria-pressed", String(chosen.includes(name)));
        button.disabled = !exists(name);
      }
      setAttr(table, "aria-pressed", String(isTable));
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
