/** Makes elements. Text is always set as text: nothing that comes from outside is ever parsed as markup. */

const SVG = "http://www.w3.org/2000/svg"

/** `h("button", {class: "x", onclick: f}, "text", child, ...)`. Attributes that are null or false are left out. */
export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children)
}

/** The same in SVG. */
export function s(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children)
}

export function set(element, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value)
    else if (value === null || value === false || value === undefined) element.removeAttribute(key)
    else {
      const text = value === true ? "" : String(value)
      if (element.getAttribute(key) !== text) element.setAttribute(key, text)
    }
  }
  return element
}

/** The names of classes that apply. */
export function classes(...names) {
  return names.filter(Boolean).join(" ")
}

/** Sets an element's text if it differs, so that screen readers and selections are left alone. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text
  return element
}

function filled(element, attributes, children) {
  set(element, attributes)
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false))
  return element
}
