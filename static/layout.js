// Layouts as texts and trees: which panels stand where, how large they are, and which symbol one is pinned to. Pure.
//
// `,` puts panels side by side, `/` one below the other, `+` behind each other as tabs, brackets nest. After a part
// comes its size: `:300` pixels, `*2` a share of what is left (else 1), `:a` as high as its content. `@ETHUSDT` pins a
// panel, `!` marks the tab in front: `(chart/metrics+health!:240),ladder:400`.

/** @typedef {{kind: "px" | "share" | "auto", value: number}} Size */
/** @typedef {{name: string, pin: string}} Place */
/** @typedef {{kind: "tabs", places: Place[], active: number, size: Size}} Tabs */
/** @typedef {{kind: "row" | "column", children: Tree[], size: Size}} Split */
/** @typedef {Tabs | Split} Tree */

/** Widths of the page that have layouts of their own: the largest one whose `from` fits.
 * @typedef {"wide" | "desktop" | "laptop" | "tablet" | "phone"} WidthClass
 */

/** @type {{name: WidthClass, from: number}[]} */
export const WIDTHS = [
  { name: "wide", from: 1800 },
  { name: "desktop", from: 1400 },
  { name: "laptop", from: 1181 },
  { name: "tablet", from: 761 },
  { name: "phone", from: 0 },
];

const DOCK = "metrics+size+depth+alerts+health";
const PHONE = "chart+ladder!+trades+size+metrics+depth+watchlist+alerts+health";

/** The layouts that everyone has; a panel that does not exist is left out.
 * @type {Record<string, Record<WidthClass, string>>}
 */
export const PRESETS = {
  standard: {
    wide: `watchlist:200,(chart/${DOCK}:250),ladder:400,trades:300`,
    desktop: `(chart/${DOCK}:300),ladder:372,trades:316`,
    laptop: "(chart/metrics:104),(ladder*3/trades*2):370",
    tablet: `chart:380/(ladder,trades):520/${DOCK}:a`,
    phone: PHONE,
  },
  book: {
    wide: `ladder,trades:400,(chart/${DOCK}:250)`,
    desktop: `ladder,trades:340,(chart/${DOCK}:300)`,
    laptop: "ladder,trades:316,chart",
    tablet: "(ladder,trades):700/chart:340",
    phone: PHONE,
  },
  chart: {
    wide: `watchlist:200,(chart/${DOCK}:250)`,
    desktop: `chart/${DOCK}:300`,
    laptop: "chart/metrics:104",
    tablet: `chart:620/${DOCK}:a`,
    phone: PHONE,
  },
};

export const SIZE_PX_MIN = 80;
const SIZE_PX_MAX = 5_000;
const SHARE_MAX = 1_000;
const PANELS_MAX = 24; // of one layout
const DEPTH_MAX = 6; // of brackets
/** @type {Size} */
const REST = { kind: "share", value: 1 };
const TOKEN = /[(),/+!]|@[^(),/+!:*@]+|:a|:\d{1,4}|\*\d{1,4}(?:\.\d{1,3})?|[a-z]\w{0,30}/gy;

/**
 * Return the name of a page's width class.
 * @param {number} width
 */
export function widthClass(width) {
  return WIDTHS.find(({ from }) => width >= from)?.name ?? "phone";
}

/**
 * Return the tree of a layout's text; null if it is none. Panels that are not known, and any that is there twice, are
 * left out.
 * @param {string} text
 * @param {string[]} known names
 * @returns {Tree | null}
 */
export function parsedLayout(text, known) {
  const tokens = text.match(TOKEN) ?? [];
  if (tokens.join("") !== text) return null;
  const tree = parsedSplit([...tokens], 0);
  return tree === null ? null : cleaned(tree, new Set(known), new Set());
}

/**
 * Take `a/b,c/d` from the tokens, up to a closing bracket.
 * @param {string[]} tokens
 * @param {number} depth
 * @returns {Tree | null}
 */
function parsedSplit(tokens, depth) {
  if (depth > DEPTH_MAX) return null;
  const columns = listed(tokens, ",", () => {
    const parts = listed(tokens, "/", () => parsedPart(tokens, depth));
    return parts === null ? null : split("column", parts);
  });
  if (columns === null || (tokens.length > 0 && depth === 0)) return null;
  return split("row", columns);
}

/**
 * @param {string[]} tokens
 * @param {string} separator
 * @param {() => Tree | null} take
 * @returns {Tree[] | null}
 */
function listed(tokens, separator, take) {
  /** @type {Tree[]} */
  const parts = [];
  do {
    const part = take();
    if (part === null) return null;
    parts.push(part);
  } while (tokens[0] === separator && tokens.shift());
  return parts;
}

/**
 * A split of one part is that part.
 * @param {"row" | "column"} kind
 * @param {Tree[]} children
 * @returns {Tree}
 */
function split(kind, children) {
  return children.length === 1 ? children[0] : { kind, children, size: REST };
}

/**
 * @param {string[]} tokens
 * @param {number} depth
 * @returns {Tree | null}
 */
function parsedPart(tokens, depth) {
  const isNested = tokens[0] === "(";
  if (isNested) tokens.shift();
  const part = isNested ? parsedSplit(tokens, depth + 1) : parsedTabs(tokens);
  if (part === null || (isNested && tokens.shift() !== ")")) return null;
  return { ...part, size: parsedSize(tokens) ?? part.size };
}

/**
 * @param {string[]} tokens
 * @returns {Tabs | null}
 */
function parsedTabs(tokens) {
  /** @type {Place[]} */
  const places = [];
  let active = 0;
  do {
    const name = tokens.shift() ?? "";
    if (!/^[a-z]/.test(name)) return null;
    const pin = tokens[0]?.startsWith("@") ? (tokens.shift() ?? "").slice(1) : "";
    if (tokens[0] === "!") active = places.length;
    if (tokens[0] === "!") tokens.shift();
    places.push({ name, pin });
  } while (tokens[0] === "+" && tokens.shift());
  return { kind: "tabs", places, active, size: REST };
}

/**
 * @param {string[]} tokens
 * @returns {Size | null}
 */
function parsedSize(tokens) {
  const mark = tokens[0]?.[0];
  if (mark !== ":" && mark !== "*") return null;
  const text = (tokens.shift() ?? "").slice(1);
  if (text === "a") return { kind: "auto", value: 0 };
  if (mark === "*") return { kind: "share", value: Math.min(SHARE_MAX, Math.max(0.001, Number(text))) };
  return { kind: "px", value: Math.min(SIZE_PX_MAX, Math.max(SIZE_PX_MIN, Number(text))) };
}

/**
 * @param {Tree} tree
 * @param {Set<string>} known
 * @param {Set<string>} seen
 * @returns {Tree | null}
 */
function cleaned(tree, known, seen) {
  if (tree.kind === "tabs") {
    const places = tree.places.filter((place) => {
      const isKept = known.has(place.name) && !seen.has(keyOf(place)) && seen.size < PANELS_MAX;
      if (isKept) seen.add(keyOf(place));
      return isKept;
    });
    const active = places.indexOf(tree.places[tree.active]);
    return places.length === 0 ? null : { ...tree, places, active: Math.max(0, active) };
  }
  const children = tree.children.map((child) => cleaned(child, known, seen)).filter((child) => child !== null);
  if (children.length === 0) return null;
  return children.length === 1 ? { ...children[0], size: tree.size } : { ...tree, children };
}

/**
 * Return a place's identity; a layout has each once.
 * @param {Place} place
 */
export function keyOf({ name, pin }) {
  return pin === "" ? name : `${name}@${pin}`;
}

/**
 * Return the text of a layout.
 * @param {Tree} tree
 * @returns {string}
 */
export function layoutText(tree) {
  if (tree.kind === "tabs") {
    const mark = (/** @type {number} */ at) => (at === tree.active && at > 0 ? "!" : "");
    return tree.places.map((place, at) => keyOf(place) + mark(at)).join("+");
  }
  return tree.children.map(partText).join(tree.kind === "row" ? "," : "/");
}

/**
 * @param {Tree} tree
 * @returns {string}
 */
function partText(tree) {
  const text = layoutText(tree);
  return (tree.kind === "tabs" ? text : `(${text})`) + sizeText(tree.size);
}

/** @param {Size} size */
function sizeText({ kind, value }) {
  if (kind === "auto") return ":a";
  if (kind === "px") return `:${Math.round(value)}`;
  return value === 1 ? "" : `*${Number(value.toFixed(3))}`;
}

/**
 * Return all places of a layout.
 * @param {Tree} tree
 * @returns {Place[]}
 */
export function placesOf(tree) {
  return tree.kind === "tabs" ? tree.places : tree.children.flatMap(placesOf);
}

/**
 * Return the places that are in front.
 * @param {Tree} tree
 * @returns {Place[]}
 */
export function shownPlaces(tree) {
  return tree.kind === "tabs" ? [tree.places[tree.active]] : tree.children.flatMap(shownPlaces);
}

/**
 * Return the layout with `change` applied to each group of tabs; one that is left empty goes.
 * @param {Tree} tree
 * @param {(tabs: Tabs) => Tabs} change
 * @returns {Tree}
 */
function changed(tree, change) {
  if (tree.kind === "tabs") return change(tree);
  return { ...tree, children: tree.children.map((child) => changed(child, change)) };
}

/**
 * Return the layout without one panel; the last one stays.
 * @param {Tree} tree
 * @param {string} key
 * @returns {Tree}
 */
export function without(tree, key) {
  const next = changed(tree, (tabs) => {
    const places = tabs.places.filter((place) => keyOf(place) !== key);
    return { ...tabs, places, active: Math.min(tabs.active, Math.max(0, places.length - 1)) };
  });
  const names = placesOf(tree).map(({ name }) => name);
  return cleaned(next, new Set(names), new Set()) ?? tree;
}

/**
 * Return the layout with a panel in front that was not there: among the tabs of `beside`, else of the dock.
 * @param {Tree} tree
 * @param {Place} place
 * @param {string} [beside] the key of a panel
 * @returns {Tree}
 */
export function withPanel(tree, place, beside) {
  if (placesOf(tree).some((other) => keyOf(other) === keyOf(place))) return activated(tree, keyOf(place));
  const groups = groupsOf(tree);
  const isBeside = (/** @type {Tabs} */ tabs) => tabs.places.some((other) => keyOf(other) === beside);
  const isDock = (/** @type {Tabs} */ tabs) => tabs.places.length > 1 || tabs.places[0].name === "metrics";
  const chosen = groups.find(isBeside) ?? groups.find(isDock) ?? groups[groups.length - 1];
  return changed(tree, (tabs) => {
    if (tabs !== chosen) return tabs;
    return { ...tabs, places: [...tabs.places, place], active: tabs.places.length };
  });
}

/**
 * Return the layout with a copy of a panel to its right, pinned to another symbol.
 * @param {Tree} tree
 * @param {string} key
 * @param {Place} copy
 * @returns {Tree}
 */
export function withCopy(tree, key, copy) {
  if (placesOf(tree).some((other) => keyOf(other) === keyOf(copy))) return activated(tree, keyOf(copy));
  if (tree.kind !== "tabs") return { ...tree, children: tree.children.map((child) => withCopy(child, key, copy)) };
  if (!tree.places.some((place) => keyOf(place) === key)) return tree;
  /** @type {Tabs} */
  const other = { kind: "tabs", places: [copy], active: 0, size: REST };
  return { kind: "row", children: [{ ...tree, size: REST }, other], size: tree.size };
}

/**
 * @param {Tree} tree
 * @returns {Tabs[]}
 */
function groupsOf(tree) {
  return tree.kind === "tabs" ? [tree] : tree.children.flatMap(groupsOf);
}

/**
 * Return the layout with this panel in front of its tabs.
 * @param {Tree} tree
 * @param {string} key
 */
export function activated(tree, key) {
  return changed(tree, (tabs) => {
    const at = tabs.places.findIndex((place) => keyOf(place) === key);
    return at < 0 ? tabs : { ...tabs, active: at };
  });
}

/**
 * Return the layout with this panel pinned to another symbol; "" for the selected one.
 * @param {Tree} tree
 * @param {string} key
 * @param {string} pin
 * @returns {Tree}
 */
export function pinned(tree, key, pin) {
  const { name } = placesOf(tree).find((place) => keyOf(place) === key) ?? { name: "" };
  if (placesOf(tree).some((place) => keyOf(place) === keyOf({ name, pin }))) return tree;
  return changed(tree, (tabs) => ({
    ...tabs,
    places: tabs.places.map((place) => (keyOf(place) === key ? { name, pin } : place)),
  }));
}

/**
 * Return the layout with other sizes of a split's parts.
 * @param {Tree} tree
 * @param {number[]} path indices from the root to the split
 * @param {Map<number, Size>} sizes by the index of the part
 * @returns {Tree}
 */
export function resized(tree, path, sizes) {
  if (tree.kind === "tabs") return tree;
  const [first, ...rest] = path;
  /** @type {(child: Tree, at: number) => Tree} */
  const next = (child, at) => {
    if (path.length === 0) return { ...child, size: sizes.get(at) ?? child.size };
    return at === first ? resized(child, rest, sizes) : child;
  };
  return { ...tree, children: tree.children.map(next) };
}
