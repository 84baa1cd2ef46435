/** Step by step: what waits at the network, and what becomes of it. */

import { h, say, set } from "../dom.js"
import { explain } from "../glossary.js"
import { phase } from "./words.js"

export class Steps {
  constructor(element, connection, actions) {
    this.actions = actions
    this.may = connection.mayOperate
    this.list = h("ol", { class: "held" })
    this.note = h("p", { class: "dim" })
    this.items = new Map()
    const button = (title, name, fields, kind, when) => actions.button(title, name, fields, { class: kind, "data-when": when })
    const rate = h("select", { "aria-label": "Slow motion", onchange: () => { if (rate.value) actions.run("slow", { rate: Number(rate.value) }); rate.value = "" } },
      ...[["", "Slow motion…"], ["1", "1 a second"], ["3", "3 a second"], ["10", "10 a second"]].map(([value, text]) => h("option", { value }, text)))
    this.controls = h("div", { class: "row" }, ...(this.may ? [
      button("Hold messages", "hold", {}, "primary", "off"), button("Step", "step", { count: 1 }, "primary", "on"),
      button("Step 5", "step", { count: 5 }, "", "on"), button("Release", "release", {}, "", "on"), rate] : []))
    element.append(h("section", { class: "card steps", "aria-labelledby": "steps-title" }, h("h2", { id: "steps-title" }, "Step by step"),
      this.controls, this.note, this.list))
    this.show({ holding: false, rate: 0, waiting: 0, lost: 0, held: [] })
  }

  show(holding) {
    for (const button of this.controls.querySelectorAll("[data-when]")) {
      set(button, { hidden: (button.dataset.when === "on") !== holding.holding })
    }
    const more = holding.waiting - holding.held.length
    say(this.note, !holding.holding ? "Hold keeps every message of the protocol here; heartbeats pass, so nobody is suspected."
      : [holding.rate ? `${holding.rate} a second go on` : holding.waiting ? "" : "Nothing waits: give the cluster something to do.",
        more > 0 ? `and ${more} more` : "", holding.lost ? `${holding.lost} lost: too many waited` : ""].filter(Boolean).join("; "))
    const there = new Set(holding.held.map((message) => message.number))
    for (const [number, item] of this.items) if (!there.has(number)) { item.element.remove(); this.items.delete(number) }
    for (const message of holding.held) {
      if (!this.items.has(message.number)) this.#add(message)
      const { times } = this.items.get(message.number)
      say(times, [message.again ? "again" : "", message.sent > 1 ? `×${message.sent}` : ""].filter(Boolean).join(" "))
      set(times, { title: message.sent > 1 ? `It was sent ${message.sent} times` : null })
    }
  }

  #add(message) {
    const [from, to] = message.link
    const name = `${message.message} from ${from} to ${to}`
    const button = (title, command, words) => this.actions.button(title, command, { message: message.number }, { "aria-label": `${words}: ${name}`, title: words })
    const times = h("span", { class: "dim" })
    const element = h("li", { class: phase(message.message) }, h("span", { class: "dim mono" }, `#${message.number}`),
      h("span", { class: "what" }, explain(message.message), h("span", { class: "way" }, ` ${from}→${to} `), times),
      ...(this.may ? [h("span", { class: "buttons" }, button("✓", "deliver", "Deliver"), button("×2", "repeat", "Deliver a copy"), button("✕", "drop", "Drop"))] : []))
    this.items.set(message.number, { element, times })
    this.list.append(element)
  }
}
