/** What is selected: how it is, and what can be done to it. */

import { h, say, set } from "../dom.js"
import { LinkState, ballot, quality, role, short, state } from "./words.js"

const QUALITIES = [
  ["delay", "delay_ms", "Delay", "ms", 600000], ["loss", "percent", "Loss", "%", 100], ["bandwidth", "kbps", "Bandwidth", "kbit/s", 1e9],
  ["dup", "percent", "Duplicates", "%", 100], ["reorder", "percent", "Out of order", "%", 100],
]

export class Panel {
  constructor(element, connection, actions) {
    this.actions = actions
    this.may = connection.mayOperate
    this.status = null
    this.selection = null
    this.title = h("h2", { id: "panel-title" })
    this.facts = h("dl", { class: "facts" })
    this.controls = h("div", { class: "controls" })
    this.duration = h("select", { "aria-label": "How long" },
      ...[["", "until undone"], ["5", "for 5 s"], ["20", "for 20 s"], ["60", "for a minute"]].map(([value, text]) => h("option", { value }, text)))
    element.append(h("section", { class: "card panel", "aria-labelledby": "panel-title" }, this.title, this.facts, this.controls))
    this.select({ network: true })
  }

  select(selection) {
    this.selection = selection
    const { node, link } = selection
    say(this.title, node ? `Node ${node}` : link ? `Link ${link[0]} – ${link[1]}` : "The network")
    this.controls.replaceChildren(...(this.may ? node ? this.#ofNode(node) : link ? this.#ofLink(link) : this.#ofNetwork()
      : [h("p", { class: "dim" }, "Your key allows to watch; one that allows to operate offers faults here.")]))
    this.#update()
  }

  show(status) {
    this.status = status
    this.#update()
  }

  #update() {
    if (!this.status) return
    const { node, link } = this.selection
    const facts = node ? this.#nodeFacts(this.status.nodes.find((one) => one.node === node))
      : link ? [["state", new LinkState(this.status, ...link).words]] : this.#networkFacts()
    while (this.facts.children.length > 2 * facts.length) this.facts.lastChild.remove()
    facts.forEach(([name, value], index) => {
      if (!this.facts.children[2 * index]) this.facts.append(h("dt"), h("dd"))
      say(this.facts.children[2 * index], name)
      say(this.facts.children[2 * index + 1], value)
    })
    for (const button of this.controls.querySelectorAll("[data-when]")) {
      const one = this.status.nodes.find((each) => each.node === node)
      set(button, { hidden: one ? !button.dataset.when.split(" ").includes(state(one)) : false })
    }
  }

  #nodeFacts(node) {
    if (!node) return [["state", "is not there any more"]]
    const reported = node.up && node.ballot
    return [
      ["role", role(node)],
      ...(reported ? [["ballot", ballot(node.ballot)], ["decided", String(node.decided)], ["applied", String(node.applied)],
        ["queue", String(node.queued)], ["digest", (node.digest ?? "").slice(0, 8)]] : []),
      ...(node.up ? [["LLM", node.asking ? `works on ${node.asking}` : "idle"], ["sent/s", short(node.frames_in_per_s)],
        ["received/s", short(node.frames_out_per_s)]] : []),
      ["lost for it", short(node.dropped)],
    ]
  }

  #networkFacts() {
    const cut = this.status.links.length
    const rate = this.status.nodes.reduce((sum, node) => sum + node.frames_in_per_s, 0)
    const faults = [
      ...(cut ? [["cut", `${cut} of ${this.status.nodes.length * (this.status.nodes.length - 1)} directions`]] : []),
      ...(quality(this.status) ? [["all links", quality(this.status)]] : []),
      ...this.status.timers.map((timer) => [timer.fault, `ends in ${Math.ceil(timer.ends_in_s)} s`]),
      ...(this.status.notice ? [["notice", this.status.notice]] : []),
    ]
    return [["messages/s", short(rate)], ...(faults.length ? faults : [["faults", "none"]])]
  }

  #for(fields) {
    return () => ({ ...fields, ...(this.duration.value && { for_s: Number(this.duration.value) }) })
  }

  #ofNode(node) {
    const button = (title, name, when, timed = false, kind = "") =>
      this.actions.button(title, name, timed ? this.#for({ node }) : { node }, { "data-when": when, class: kind })
    return [
      h("div", { class: "row" }, button("Fail (kill -9)", "failNode", "up paused", true, "danger"), button("Start again", "fixNode", "down", false, "primary"),
        button("Pause", "pauseNode", "up", true), button("Resume", "resumeNode", "paused", false, "primary"),
        button("Cut off", "isolate", "up paused", true)),
      h("p", { class: "row" }, this.duration),
    ]
  }

  #ofLink([a, b]) {
    const cut = (title, link, oneWay) => this.actions.button(title, "failLink", this.#for({ link, one_way: oneWay }), { class: oneWay ? "" : "danger" })
    const direction = h("select", { "aria-label": "Direction" }, h("option", { value: "both" }, "both directions"),
      h("option", { value: "there" }, `${a} → ${b}`), h("option", { value: "back" }, `${b} → ${a}`))
    const link = () => ({ link: direction.value === "back" ? [b, a] : [a, b], one_way: direction.value !== "both" })
    return [
      h("div", { class: "row" }, cut("Cut", [a, b], false), cut(`Cut ${a} → ${b}`, [a, b], true), cut(`Cut ${b} → ${a}`, [b, a], true),
        this.actions.button("Restore", "fixLink", { link: [a, b] }, { class: "primary" })),
      h("p", { class: "row" }, this.duration, direction), this.#qualities(link),
    ]
  }

  #ofNetwork() {
    const groups = h("input", { "aria-label": "Groups of nodes", value: "1,2|3,4,5", size: 10 })
    const parted = () => this.#for({ groups: groups.value.split("|").map((group) => group.split(/[\s,]+/).filter(Boolean).map(Number)) })()
    return [
      h("div", { class: "row" }, this.actions.button("Restore all links", "heal"), this.actions.button("Remove all faults", "fixAll", {}, { class: "primary" })),
      h("div", { class: "row" }, groups, this.actions.button("Partition", "partition", parted), this.duration),
      this.#qualities(() => ({})),
    ]
  }

  /** Delay, loss and others, of a link or of all. */
  #qualities(link) {
    const row = ([name, key, title, unit, most]) => {
      const field = h("input", { type: "number", min: 0, max: most, step: "any", placeholder: "0", id: `quality-${name}` })
      const fields = () => ({ ...link(), ...this.#for({ [key]: Number(field.value || 0) })() })
      const entered = (event) => { if (event.key === "Enter") this.actions.run(name, fields()) }
      field.addEventListener("keydown", entered)
      return h("div", { class: "quality" }, h("label", { for: field.id }, title), field, h("span", { class: "dim" }, unit),
        this.actions.button("Set", name, fields, { "aria-label": `Set ${title.toLowerCase()}` }))
    }
    return h("details", { open: Boolean(this.selection.link) }, h("summary", {}, this.selection.link ? "This link" : "Every link"), ...QUALITIES.map(row))
  }
}
