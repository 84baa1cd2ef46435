/** Who is to write a synthesis: the leader, unless a user names a node. */

import { h } from "../dom.js"

export class Writer {
  constructor() {
    this.select = h("select", { "aria-label": "Who writes the synthesis" })
    this.element = h("label", { class: "writer" }, "by ", this.select)
    this.members = null
  }

  /** What was chosen stays, as long as that node is a member. */
  update(members) {
    if (this.members === members.join()) return
    this.members = members.join()
    const chosen = this.node
    this.select.replaceChildren(h("option", { value: "" }, "the leader"),
      ...members.map((node) => h("option", { value: node }, `node ${node}`)))
    this.select.value = members.includes(chosen) ? chosen : ""
  }

  /** Undefined for the leader. */
  get node() { return this.select.value ? Number(this.select.value) : undefined }
}
