/** What the words of the field mean: shown when a word is pointed at, or focused. */

import { h, say } from "./dom.js"

let words = new Map()
let pattern = null
const note = h("div", { class: "gloss", role: "tooltip", id: "gloss", hidden: true })

/** Fetches the words, once. */
export async function load(connection) {
  if (pattern) return
  const fetched = Object.entries((await connection.get("/api/glossary")).words)
  words = new Map(fetched.map(([word, meaning]) => [word.toLowerCase(), meaning]))
  const names = fetched.map(([word]) => word).sort((one, other) => other.length - one.length)
  pattern = new RegExp(`\\b(${names.join("|")})(?:s|d)?\\b`, "gi")
  document.body.append(note)
}

/** The text as nodes, with the words that are explained marked. */
export function explain(text) {
  const parts = h("span")
  let end = 0
  for (const found of pattern ? text.matchAll(pattern) : []) {
    const meaning = words.get(found[1].toLowerCase())
    parts.append(text.slice(end, found.index), term(found[0], meaning))
    end = found.index + found[0].length
  }
  parts.append(text.slice(end))
  return parts
}

function term(text, meaning) {
  const element = h("span", { class: "term", tabindex: "0", "aria-describedby": "gloss" }, text)
  const show = () => {
    say(note, meaning)
    note.hidden = false
    const box = element.getBoundingClientRect()
    const left = Math.max(8, Math.min(box.left, innerWidth - note.offsetWidth - 8))
    const below = box.bottom + note.offsetHeight + 12 < innerHeight
    note.style.left = `${left}px`
    note.style.top = `${below ? box.bottom + 6 : box.top - note.offsetHeight - 6}px`
  }
  const hide = () => { note.hidden = true }
  for (const name of ["mouseenter", "focus"]) element.addEventListener(name, show)
  for (const name of ["mouseleave", "blur"]) element.addEventListener(name, hide)
  element.addEventListener("keydown", (event) => { if (event.key === "Escape") hide() })
  return element
}
