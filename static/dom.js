// The few ways in which the page changes its document: create an element, set a text or an attribute, each only when
// it differs. Text is inserted as text nodes only, so no name from outside can become markup.

/** @typedef {string | number | boolean | null | undefined} AttributeValue */
/** @typedef {Record<string, AttributeValue>} Attributes */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Create an element with attributes (null, undefined and false leave one out) and children.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} attributes
 * @param {(Node | string)[]} children
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttr(node, name, value);
  node.append(...children);
  return node;
}

/**
 * Create an SVG element, as `element` does.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} attributes
 * @param {(Node | string)[]} children
 */
export function svgElement(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) setAttr(node, name, value);
  node.append(...children);
  return node;
}

/**
 * Return the element that `selector` names; the page is broken without it.
 * @template {Element} [Kind=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {Kind}
 */
export function find(root, selector) {
  const node = root.querySelector(selector);
  if (node === null) throw new Error(`expected an element ${selector} on the page, found none`);
  return /** @type {Kind} */ (node);
}

/**
 * Return the element that an event came from, or its nearest ancestor, that matches `selector`.
 * @param {Event} event
 * @param {string} selector
 * @returns {HTMLElement | null}
 */
export function closest({ target }, selector) {
  return target instanceof Element ? target.closest(selector) : null;
}

/**
 * Replace the only text of `node`, keeping its text node; do nothing when it is the same.
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  const first = node.firstChild;
  if (first === null) node.appendChild(document.createTextNode(text));
  else if (first.nodeValue !== text) first.nodeValue = text;
}

/**
 * Show or hide `node`, only when that differs: setting even the same value costs a style pass.
 * @param {HTMLElement} node
 * @param {boolean} isVisible
 */
export function setVisible(node, isVisible) {
  if (node.hidden === isVisible) node.hidden = !isVisible;
}

/**
 * Show `part` (0 to 1) of a full-width `node` inside its clipped parent.
 * @param {HTMLElement} node
 * @param {number} part
 */
export function setFill(node, part) {
  const transform = `translateX(${((part - 1) * 100).toFixed(1)}%)`;
  if (node.style.transform !== transform) node.style.transform = transform;
}

/**
 * Set an attribute, or remove it for null, undefined and false; true sets it empty.
 * @param {Element} node
 * @param {string} name
 * @param {AttributeValue} value
 */
export function setAttr(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}
