// The panels: one row and one folder each. A panel's module is loaded when the panel is first shown; what it exports,
// and what it is given, is in panel_frame.js.

/** @import {PanelModule} from "../panel_frame.js" */

/** One panel: `title` heads it, `tab` is its short name on a tab.
 * @typedef {{name: string, title: string, tab: string, load: () => Promise<PanelModule>}} PanelRow
 */

/** @type {PanelRow[]} */
export const PANELS = [
  { name: "chart", title: "Candles", tab: "Chart", load: () => import("./chart/panel.js") },
  { name: "ladder", title: "Order book", tab: "Book", load: () => import("./ladder/panel.js") },
  { name: "trades", title: "Trades", tab: "Tape", load: () => import("./trades/panel.js") },
  { name: "metrics", title: "Metrics", tab: "Metrics", load: () => import("./metrics/panel.js") },
  { name: "watchlist", title: "Watchlist", tab: "Watch", load: () => import("./watchlist/panel.js") },
  { name: "size", title: "My size", tab: "Size", load: () => import("./size/panel.js") },
  { name: "depth", title: "Depth", tab: "Depth", load: () => import("./depth/panel.js") },
  { name: "health", title: "Health", tab: "Health", load: () => import("./health/panel.js") },
];
