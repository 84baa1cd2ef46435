/** What happened, newest first, and the faults that were set. */

import { h } from "../dom.js"
import { explain } from "../glossary.js"
import { clock } from "./words.js"

const KEPT = 150

export class Ticker {
  constructor(element, connection) {
    this.connection = connection
    this.list = h("ol", { class: "ticker", tabindex: "0", "aria-label": "What happened, newest first" })
    this.faults = h("ol", { class: "ticker", tabindex: "0", "aria-label": "The faults so far, newest first", hidden: true })
    const tab = (title, mine) => h("button", { type: "button", class: "tab", "aria-pressed": String(mine === this.list), onclick: (event) => this.#open(mine, event.target) }, title)
    this.tabs = h("div", { class: "row", role: "group", "aria-label": "Which list" }, tab("What happens", this.list), tab("Faults", this.faults))
    element.append(h("section", { class: "card happenings", "aria-label": "Events" }, this.tabs, this.list, this.faults))
  }

  /** One `happened`. */
  add(event) {
    this.list.prepend(h("li", { class: event.kind }, h("time", {}, clock(event.time)), h("span", {}, explain(event.text))))
    while (this.list.children.length > KEPT) this.list.lastChild.remove()
    if (event.kind === "fault" && !this.faults.hidden) this.#fetch()
  }

  /** What follows begins anew. */
  clear() { this.list.replaceChildren() }

  #open(list, button) {
    for (const each of this.tabs.children) each.setAttribute("aria-pressed", String(each === button))
    this.list.hidden = list !== this.list
    this.faults.hidden = list !== this.faults
    if (list === this.faults) this.#fetch()
  }

  async #fetch() {
    const { entries } = await this.connection.get("/api/log", { count: 100 }).catch(() => ({ entries: [] }))
    this.faults.replaceChildren(...entries.reverse().map((entry) =>
      h("li", {}, h("time", {}, clock(entry.time)), h("span", {}, entry.what, entry.by === "operator" ? "" : h("span", { class: "dim" }, ` (${entry.by})`)))))
    if (!entries.length) this.faults.append(h("li", { class: "dim" }, "none so far"))
  }
}
