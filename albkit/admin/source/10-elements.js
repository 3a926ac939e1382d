// Elements, attributes, icons, and what the browser stores.
const $ = (id) => document.getElementById(id);
const html = document.documentElement;

// Creates an element. Text from the load balancer becomes text or an attribute, never markup: clients choose some of it.
const on = (target, kind, act, options) => target.addEventListener(kind, act, options);
function h(tag, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  const attributes = children[0]?.constructor === Object ? children.shift() : {};
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) on(element, name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

// Both write only what differs: assigning equal text would still cost a layout.
function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}
function mark(element, name, value) {
  if (value == null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
}

const SHAPES = {
  healthy: "M3 7.5 6 10.5 11 4", unhealthy: "M3 3 11 11M11 3 3 11", initial: "M7 3V7L9.5 9M12.5 7A5.5 5.5 0 1 1 1.5 7A5.5 5.5 0 0 1 12.5 7",
  unavailable: "M4.5 5A2.5 2.5 0 1 1 7 8V9M7 12V12.1", draining: "M7 2V11M3 7.5 7 11.5 11 7.5", drained: "M3 7H11", unused: "M3 7H11",
  ejected: "M3 8 7 3 11 8ZM3 11.5H11", warning: "M7 2 13 12H1ZM7 6V8.5M7 10.4V10.5", pause: "M4.5 3V11M9.5 3V11", play: "M4 3 11 7 4 11Z",
  dark: "M11.5 8.5A5 5 0 1 1 5.5 2.5A4 4 0 0 0 11.5 8.5", light: "M9.5 7A2.5 2.5 0 1 1 4.5 7A2.5 2.5 0 0 1 9.5 7M7 1V2M7 12V13M1 7H2M12 7H13M3 3 3.5 3.5M10.5 10.5 11 11M3 11 3.5 10.5M10.5 3.5 11 3",
  auto: "M12.5 7A5.5 5.5 0 1 1 1.5 7A5.5 5.5 0 0 1 12.5 7M7 1.5V12.5M8.5 4V10M10 5V9", info: "M7 6.5V10.5M7 3.6V3.7",
};
function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [key, value] of [["viewBox", "0 0 14 14"], ["class", "icon"], ["aria-hidden", "true"]]) svg.setAttribute(key, value);
  path.setAttribute("d", SHAPES[name] || SHAPES.info);
  svg.append(path);
  return svg;
}
function badge(tone, shape, words) {
  return h("span.badge", { "data-tone": tone }, icon(shape), h("span", words));
}

const store = (kind, key, value) => {
  // Settings of the browser may forbid storage.
  try {
    const area = window[kind];
    if (value === undefined) return area.getItem(key);
    if (value === null) area.removeItem(key);
    else area.setItem(key, value);
  } catch { /* not kept */ }
  return null;
};
