/** The Markdown within a line, as nodes: emphasis, code, links. Time is linear in the length of the text: every pattern is
 * bounded, and so is the depth. No address is ever asked: images are shown as links, and links show where they lead. */

import { h } from "../dom.js"

const DEEPEST = 12
const TOKEN = new RegExp([
  "\\\\([!-/:-@[-`{-~])", // an escaped character
  "(`{1,2})(?!`)([^\\n]{1,1000}?)\\2(?!`)", // code
  "(!?)\\[([^\\[\\]\\n]{0,400})\\]\\(<?([^\\s()<>]{1,1500})>?(?:[ ]\"[^\"\\n]{0,200}\")?\\)", // an image or a link
  "(https?://[^\\s<>\"'`*]{1,1500})", // an address
  "(\\*\\*|__|~~|\\*|_)", // emphasis
  "(\\n)",
].join("|"), "gu")
const TAGS = { "**": "strong", "__": "strong", "~~": "del", "*": "em", "_": "em" }

/** The nodes of a text. */
export function inline(text) {
  const frames = [{ mark: "", nodes: [] }]
  const add = (node) => frames.at(-1).nodes.push(node)
  let end = 0
  for (const found of text.matchAll(TOKEN)) {
    if (found.index > end) add(text.slice(end, found.index))
    end = found.index + found[0].length
    const [whole, escaped, , code, image, label, target, address, mark] = found
    if (escaped) add(escaped)
    else if (code !== undefined) add(h("code", {}, code.trim() || code))
    else if (target !== undefined) add(link(label, target, whole, Boolean(image)))
    else if (address !== undefined) {
      const tail = address.match(/[.,;:!?)\]]{1,5}$/)?.[0] ?? ""
      add(link("", address.slice(0, address.length - tail.length), address, false))
      if (tail) add(tail)
    } else if (mark !== undefined) emphasize(frames, mark, text[found.index - 1] ?? " ", text[end] ?? " ")
    else add(h("br"))
  }
  if (end < text.length) add(text.slice(end))
  while (frames.length > 1) flatten(frames)
  return frames[0].nodes
}

/** Only what leads to the web is a link, and says where to: the words of a link may be anybody's. */
function link(label, target, written, isImage) {
  const words = label || (isImage ? "image" : "")
  let url
  try {
    url = new URL(target)
  } catch {
    return written
  }
  if (!["http:", "https:"].includes(url.protocol) || url.username || url.password) return written
  const shown = url.href.length > 90 ? `${url.href.slice(0, 89)}…` : url.href
  const anchor = h("a", { href: url.href, rel: "noopener noreferrer nofollow", target: "_blank" }, words || shown)
  if (!words) return anchor
  return h("span", {}, isImage ? "Image: " : "", anchor, h("span", { class: "address" }, ` (${shown})`))
}

function emphasize(frames, mark, before, after) {
  const opens = !/\s/u.test(after) && !(mark.startsWith("_") && /[\p{L}\p{N}]/u.test(before))
  const closes = !/\s/u.test(before) && !(mark.startsWith("_") && /[\p{L}\p{N}]/u.test(after))
  const open = closes ? frames.findLastIndex((frame) => frame.mark === mark) : -1
  if (open > 0 && frames[open].nodes.length + (frames.length - 1 - open) > 0) {
    while (frames.length - 1 > open) flatten(frames)
    const { nodes } = frames.pop()
    frames.at(-1).nodes.push(h(TAGS[mark], {}, ...nodes))
  } else if (opens && frames.length <= DEEPEST) frames.push({ mark, nodes: [] })
  else frames.at(-1).nodes.push(mark)
}

/** What was never closed is no emphasis. */
function flatten(frames) {
  const { mark, nodes } = frames.pop()
  const target = frames.at(-1).nodes
  target.push(mark)
  for (const node of nodes) target.push(node)
}
