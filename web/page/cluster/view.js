/** The cluster: its nodes, its network, and what travels between them. */

import { Actions } from "../actions.js"
import { h } from "../dom.js"
import { load } from "../glossary.js"
import { Logs } from "./logs.js"
import { Panel } from "./panel.js"
import { Picture } from "./picture.js"
import { Steps } from "./steps.js"
import { Table } from "./table.js"
import { Ticker } from "./ticker.js"
import { Traffic } from "./traffic.js"
import { LEGEND } from "./words.js"

/** Returns what ends the view. */
export function open(element, connection) {
  const stage = h("div", { class: "stage" }), side = h("div", { class: "side" }), below = h("div", { class: "below" })
  const lost = h("p", { class: "lost", role: "alert", hidden: true })
  element.append(h("div", { class: "picture-side" }, h("div", { class: "card scene" }, stage, legend(), lost), below), side)
  const select = (selection) => { panel.select(selection); picture.mark(selection) }
  const picture = new Picture(stage, select), traffic = new Traffic(picture)
  const actions = new Actions(side, connection)
  const panel = new Panel(side, connection, actions)
  const ticker = new Ticker(side, connection)
  const steps = new Steps(below, connection, actions)
  const logs = new Logs(below), table = new Table(below, select)
  const parts = [picture, panel, logs, table]
  const handlers = {
    status: (event) => parts.forEach((part) => part.show(event)),
    messages: (event) => traffic.add(event),
    holding: (event) => { steps.show(event); picture.showHolding(event) },
    happened: (event) => ticker.add(event),
    gap: () => ticker.clear(),
  }
  const state = (connected, words) => { lost.hidden = connected; lost.textContent = words; stage.classList.toggle("stale", !connected) }
  let close = () => {}
  let closed = false
  load(connection).catch(() => {}).then(() => {
    if (!closed) close = connection.events("/api/events", (name, data) => handlers[name]?.(data), state)
  })
  return () => { closed = true; close(); picture.close(); traffic.close() }
}

export function legend() {
  return h("ul", { class: "legend", "aria-label": "Colours of messages" },
    ...LEGEND.map(([kind, words]) => h("li", { class: kind }, h("i", { class: "dot" }), words)))
}
