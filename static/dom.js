// The few ways this page touches its document: make an element, write a text, set an attribute, each only when it
// differs. Text goes in as text and nothing else does, so no name from outside can become markup.

/** An element with attributes (null and false leave one out) and children, which are elements or texts. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) attribute(node, name, value);
  node.append(...children);
  return node;
}

/** As `element`, for a drawing inside the page. */
export function drawing(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) attribute(node, name, value);
  node.append(...children);
  return node;
}

/** Replaces the only text of `node`, keeping its text node, and does nothing when it already reads so. */
export function write(node, text) {
  const first = node.firstChild;
  if (first === null) node.append(text);
  else if (first.data !== text) first.data = text;
}

/** Shows or hides `node`, touching it only when that differs: even the same value again would cost a style pass. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** Lets a full-width `node` show `part` (0 to 1) of itself inside its clipped parent. */
export function slide(node, part) {
  const transform = `translateX(${((part - 1) * 100).toFixed(1)}%)`;
  if (node.style.transform !== transform) node.style.transform = transform;
}

/** Sets an attribute, or removes it for null, undefined and false; true sets it empty. */
export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}
