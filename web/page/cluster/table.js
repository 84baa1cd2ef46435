/** The picture as a table, for screen readers and for those who prefer figures. */

import { h, say } from "../dom.js"
import { LinkState, ballot, pairs, role } from "./words.js"

const HEADS = ["node", "role", "ballot", "decided", "applied", "queue", "LLM", "messages/s"]

export class Table {
  constructor(element, select) {
    this.select = select
    this.body = h("tbody")
    this.links = h("ul")
    element.append(h("details", { class: "card as-table" }, h("summary", {}, "The same as a table"),
      h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ...HEADS.map((name) => h("th", { scope: "col" }, name)))), this.body)),
      h("h3", {}, "Links with faults"), this.links))
  }

  show(status) {
    if (!this.body.closest("details").open) return
    const rows = status.nodes.map((node) => [role(node), ballot(node.ballot), node.decided ?? "", node.applied ?? "", node.queued ?? "",
      node.asking ? "works" : "", Math.round(node.frames_in_per_s)])
    if (this.body.children.length !== rows.length) {
      this.body.replaceChildren(...status.nodes.map((node) => h("tr", {},
        h("th", { scope: "row" }, h("button", { type: "button", onclick: () => this.select({ node: node.node }) }, `Node ${node.node}`)),
        ...HEADS.slice(1).map(() => h("td")))))
    }
    rows.forEach((row, index) => row.forEach((value, column) => say(this.body.children[index].children[column + 1], String(value))))
    const faulty = pairs(status.nodes.map((node) => node.node)).map(([a, b]) => new LinkState(status, a, b)).filter((link) => link.kind !== "works")
    const words = faulty.map((link) => `${link.a} – ${link.b}: ${link.words}`)
    if (this.links.textContent !== words.join("")) this.links.replaceChildren(...words.map((text) => h("li", {}, text)))
  }
}
