/** The end of each node's log: which positions are decided there, and which are applied. */

import { h, say, set } from "../dom.js"
import { role, state } from "./words.js"

const CELLS = 24

export class Logs {
  constructor(element) {
    this.head = h("span", { class: "span dim" })
    this.rows = h("div", { class: "logs" })
    element.append(h("section", { class: "card log", "aria-labelledby": "log-title" },
      h("h2", {}, h("span", { id: "log-title" }, "Logs"), this.head,
        h("span", { class: "key" }, h("i", { class: "cell applied" }), "applied ", h("i", { class: "cell decided" }), "decided ", h("i", { class: "cell" }), "not here")), this.rows))
    this.drawn = new Map()
  }

  show(status) {
    const last = Math.max(0, ...status.nodes.map((node) => node.decided ?? 0))
    const first = Math.max(1, last - CELLS + 1)
    say(this.head, last ? `positions ${first} to ${Math.max(last, first + CELLS - 1)}` : "")
    for (const [number, row] of this.drawn) if (!status.nodes.some((node) => node.node === number)) { row.element.remove(); this.drawn.delete(number) }
    for (const node of status.nodes) {
      let row = this.drawn.get(node.node)
      if (!row) {
        row = { cells: Array.from({ length: CELLS }, () => h("i", { class: "cell" })), number: h("span", { class: "mono" }), name: h("b", {}, String(node.node)) }
        row.element = h("div", { class: "log-row", role: "img" }, row.name, h("span", { class: "cells" }, ...row.cells), row.number)
        this.drawn.set(node.node, row)
        this.rows.append(row.element)
      }
      const known = node.up && node.applied !== null && node.applied !== undefined
      set(row.element, { class: `log-row ${state(node)} ${node.role ?? ""}`,
        "aria-label": `Node ${node.node}, ${role(node)}: ${known ? `decided up to ${node.decided}, applied up to ${node.applied}` : "nothing known"}` })
      say(row.number, known ? String(node.applied) : "–")
      row.cells.forEach((cell, index) => {
        const position = first + index
        set(cell, { class: `cell ${!known ? "" : position <= node.applied ? "applied" : position <= node.decided ? "decided" : ""}` })
      })
    }
  }
}
