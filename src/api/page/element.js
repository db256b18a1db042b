// Elements: made, filled and kept. Text is text: nothing here reads markup.

const $ = (id) => document.getElementById(id);

/** An element with attributes (`on…` are listeners, `text` its text, `class` its classes) and children. */
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for drawings. */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

/** Sets a text, if it is another one. */
function put(node, text) {
  if (node.shown === text) return;
  node.shown = text;
  node.textContent = text;
}

/** Sets an attribute, if it is another one; `null` takes it away. */
function mark(node, name, value) {
  if (value == null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== value) {
    node.setAttribute(name, value);
  }
}

function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

const lists = new WeakMap();

/**
 * Makes the children of `parent` those of `items`, in their order. What is there already is kept and only moved, so
 * that focus, selection and scroll stay. `make` gives `{ node, update(item) }`.
 */
function list(parent, items, nameOf, make) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const old = lists.get(parent) ?? new Map();
  const now = new Map();
  for (const item of items) {
    const name = nameOf(item);
    now.set(name, old.get(name) ?? make(item));
  }
  for (const [name, part] of old) if (!now.has(name)) part.node.remove();
  let place = parent.firstElementChild;
  for (const item of items) {
    const part = now.get(nameOf(item));
    part.update(item);
    if (part.node === place) place = place.nextElementSibling;
    else parent.insertBefore(part.node, place);
  }
  lists.set(parent, now);
  // Who is moved loses it.
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

/** A line through points in a box of 100 by 24; the highest touches the top. */
function sparkline(label) {
  const line = svg("polyline", { fill: "none", "vector-effect": "non-scaling-stroke" });
  const area = svg("polygon", {});
  const node = svg("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", role: "img", "aria-label": label }, area, line);
  const draw = (values) => {
    // A line needs a few points.
    if (values.length < 3) return;
    const top = Math.max(...values, 1e-9);
    const step = 100 / Math.max(values.length - 1, 1);
    const points = values.map((value, n) => `${(n * step).toFixed(1)},${(23 - (value / top) * 21).toFixed(1)}`);
    mark(line, "points", points.join(" "));
    mark(area, "points", points.length ? `0,24 ${points.join(" ")} 100,24` : "");
  };
  return { node, draw };
}

/** A bar that is filled so far. */
function meter(label) {
  const inner = el("i");
  const node = el("span", { class: "meter", role: "img", "aria-label": label }, inner);
  const draw = (part, tone) => {
    const width = `${Math.round(Math.min(Math.max(part, 0), 1) * 100)}%`;
    if (inner.style.width !== width) inner.style.width = width;
    mark(node, "data-tone", tone ?? null);
  };
  return { node, draw };
}
