/** Markdown as nodes. What an LLM wrote never becomes markup: elements are made one by one, and everything else is text.
 * Blocks deeper than a few levels, and more of them than anybody reads, are shown as they are written. */

import { h } from "../dom.js"
import { inline } from "./inline.js"
import { visible } from "./visible.js"

const DEEPEST = 5
const MOST_BLOCKS = 300
const MOST_CELLS = 24
const LONGEST_RICH = 20000
/** Characters of one paragraph that may have emphasis and links. */

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]{0,30})/
const HEADING = /^ {0,3}(#{1,6})\s+(.{0,500})$/
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/
const QUOTE = /^ {0,3}> ?/
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(\s+|$)/
const TABLE_RULE = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*){0,23}\|?\s*$/

/** Shows a text in an element. What is there already and has not changed stays, so that a text may grow. */
export function show(element, text) {
  const parts = blocks(visible(text).split("\n"))
  const former = element.blocks ?? []
  let same = 0
  while (same < parts.length && same < former.length && parts[same].source === former[same]) same += 1
  while (element.childNodes.length > same) element.lastChild.remove()
  for (const part of parts.slice(same, MOST_BLOCKS)) element.append(rendered(part, 0))
  if (parts.length > MOST_BLOCKS) {
    element.append(h("pre", {}, parts.slice(MOST_BLOCKS).map((part) => part.source).join("\n")))
  }
  element.blocks = parts.slice(0, MOST_BLOCKS).map((part) => part.source)
}

/** The blocks that these lines are: `kind`, the `lines` that are its content, and its `source`. */
function blocks(lines) {
  const found = []
  let at = 0
  const add = (kind, from, content, more = {}) => {
    found.push({ kind, lines: content, source: lines.slice(from, at).join("\n"), ...more })
  }
  while (at < lines.length) {
    const from = at
    const line = lines[at]
    const fence = line.match(FENCE)
    const heading = line.match(HEADING)
    if (!line.trim()) at += 1
    else if (fence) {
      at += 1
      while (at < lines.length && !closes(lines[at], fence[1])) at += 1
      const content = lines.slice(from + 1, at)
      at = Math.min(at + 1, lines.length)
      add("code", from, content, { language: fence[2] })
    } else if (heading) {
      at += 1
      add("heading", from, [heading[2].replace(/\s#{1,20}$/, "")], { level: heading[1].length })
    } else if (RULE.test(line)) {
      at += 1
      add("rule", from, [])
    } else if (QUOTE.test(line)) {
      while (at < lines.length && QUOTE.test(lines[at])) at += 1
      add("quote", from, lines.slice(from, at).map((one) => one.replace(QUOTE, "")))
    } else if (ITEM.test(line)) {
      at = listEnd(lines, at)
      add("list", from, lines.slice(from, at))
    } else if (line.includes("|") && at + 1 < lines.length && TABLE_RULE.test(lines[at + 1])) {
      at += 2
      while (at < lines.length && lines[at].includes("|")) at += 1
      add("table", from, lines.slice(from, at))
    } else {
      at += 1
      while (at < lines.length && !endsParagraph(lines[at])) at += 1
      add("paragraph", from, lines.slice(from, at))
    }
  }
  return found
}

function closes(line, fence) {
  const mark = line.trim()
  return mark.length >= fence.length && mark === fence[0].repeat(mark.length)
}

function endsParagraph(line) {
  return !line.trim() || [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line))
}

/** A list goes on with its items, and with what is indented below them. */
function listEnd(lines, start) {
  const isOrdered = /\d/.test(lines[start].match(ITEM)[2])
  let at = start + 1
  while (at < lines.length) {
    const item = indent(lines[at]) < 2 ? lines[at].match(ITEM) : null
    if (item ? /\d/.test(item[2]) !== isOrdered : !/^\s{2}/.test(lines[at]) && lines[at].trim()) break
    if (!lines[at].trim() && !/^(?:\s{2}|\s*(?:[-*+]|\d{1,9}[.)])\s)/.test(lines[at + 1] ?? "")) break
    at += 1
  }
  return at
}

function indent(line) { return line.length - line.trimStart().length }

function rendered(block, depth) {
  if (depth > DEEPEST) return h("p", {}, block.source)
  switch (block.kind) {
    case "code":
      return h("pre", { tabindex: 0, ...(block.language && { "data-language": block.language }) },
        h("code", {}, block.lines.join("\n")))
    case "heading": return h(`h${Math.min(6, block.level + 3)}`, {}, ...inline(block.lines[0]))
    case "rule": return h("hr")
    case "quote": return h("blockquote", {}, ...children(block.lines, depth))
    case "list": return list(block.lines, depth)
    case "table": return table(block.lines)
    default: return paragraph(block.lines.map((line) => line.trimStart()).join("\n"))
  }
}

function children(lines, depth) {
  return blocks(lines).slice(0, MOST_BLOCKS).map((block) => rendered(block, depth + 1))
}

function paragraph(text) {
  if (text.length > LONGEST_RICH) return h("p", {}, text)
  return h("p", {}, ...inline(text))
}

function list(lines, depth) {
  const items = []
  for (const line of lines) {
    const item = indent(line) < (items.at(-1)?.indent ?? 4) ? line.match(ITEM) : null
    if (item && items.length < MOST_BLOCKS) items.push({ indent: item[0].length, lines: [line.slice(item[0].length)] })
    else items.at(-1).lines.push(line.slice(Math.min(items.at(-1).indent, indent(line))))
  }
  const number = Number.parseInt(lines[0].match(ITEM)[2], 10)
  const tag = Number.isNaN(number) ? "ul" : "ol"
  return h(tag, { start: tag === "ol" && number !== 1 ? number : null }, ...items.map((item) => {
    const inside = children(item.lines, depth)
    const isTight = inside[0]?.tagName === "P"
    return h("li", {}, ...(isTight ? [...inside[0].childNodes, ...inside.slice(1)] : inside))
  }))
}

function table(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").slice(0, MOST_CELLS).map((cell) => cell.trim())
  const row = (line, tag) => h("tr", {}, ...cells(line).map((cell) => h(tag, {}, ...inline(cell))))
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table" }, h("table", {},
    h("thead", {}, row(lines[0], "th")),
    h("tbody", {}, ...lines.slice(2, MOST_BLOCKS).map((line) => row(line, "td")))))
}
