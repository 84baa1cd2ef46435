/** A conversation as a file: for reading (Markdown), or for `import` (JSON), as `export` at a prompt writes it. */

import { h } from "../dom.js"
import { SYNTHESIS } from "./names.js"

export function asJson({ context, turns, title, system }) {
  const record = { format: "consensusllm-conversation", version: 1, context, turns, title, system }
  return JSON.stringify(record, null, 2) + "\n"
}

export function asMarkdown({ context, turns, title, system }) {
  const parts = [`# ${context}`, ...(title ? [`**${title}**`] : []), ...(system ? [system.replace(/^/gm, "> ")] : [])]
  turns.forEach((turn, index) => {
    parts.push(`## ${index + 1}. Question`, turn.query)
    const answer = turn.chosen === null ? null : turn.candidates[turn.chosen]
    if (answer) parts.push(`### Answer (${turn.chosen === SYNTHESIS ? "synthesis" : `node ${turn.chosen}`}, ${answer.model})`, answer.text)
    else parts.push(turn.cancelled ? "*(cancelled)*" : "*(open)*")
  })
  return parts.join("\n\n") + "\n"
}

export function save(name, type, content) {
  const address = URL.createObjectURL(new Blob([content], { type }))
  h("a", { href: address, download: name.replace(/[^\p{L}\p{N}._-]/gu, "_") }).click()
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}
