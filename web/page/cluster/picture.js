/** The picture of the cluster: nodes, links and the network, which can be selected; messages travel in `layer`. */

import { classes, s, say, set } from "../dom.js"
import { Geometry } from "./geometry.js"
import { LinkState, ballot, pairs, quality, role, state } from "./words.js"

export class Picture {
  /** `select(what)` is called with {node}, {link: [a, b]} or {network: true}. */
  constructor(element, select) {
    this.select = select
    this.status = null
    this.holding = false
    this.selected = ""
    this.geometry = null
    this.nodes = new Map()
    this.links = new Map()
    this.svg = s("svg", { class: "picture", role: "group", "aria-label": "The nodes and the links between them" })
    this.linkLayer = s("g")
    this.layer = s("g", { class: "messages", "aria-hidden": "true" })
    this.hub = this.#makeHub()
    this.nodeLayer = s("g")
    this.svg.append(this.linkLayer, this.hub.group, this.nodeLayer, this.layer)
    element.append(this.svg)
    this.observer = new ResizeObserver(() => this.#arrange())
    this.observer.observe(element)
    this.element = element
  }

  close() { this.observer.disconnect() }

  show(status) {
    const before = this.status?.nodes.map((node) => node.node).join()
    this.status = status
    if (status.nodes.map((node) => node.node).join() !== before || !this.geometry) this.#arrange()
    else this.#update()
  }

  showHolding(holding) {
    this.holding = holding.holding
    this.#updateHub()
    say(this.hub.count, holding.holding ? `${holding.waiting} held` : "")
  }

  mark(selection) {
    this.selected = selection ? selection.node ? `node ${selection.node}` : selection.link ? `link ${selection.link}` : "network" : ""
    if (this.status) this.#update()
  }

  #choice(attributes, what) {
    return {
      ...attributes, tabindex: "0", role: "button", onclick: () => this.select(what),
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return
        event.preventDefault()
        this.select(what)
      },
    }
  }

  #makeHub() {
    const disc = s("circle"), name = s("text", { class: "name" }, "network"), count = s("text", { class: "count" })
    const group = s("g", this.#choice({ class: "hub", "aria-label": "The network: every message passes here" }, { network: true }),
      disc, name, count)
    return { group, disc, name, count }
  }

  #arrange() {
    const box = this.element.getBoundingClientRect()
    if (!this.status || box.width < 10) return
    const numbers = this.status.nodes.map((node) => node.node)
    this.geometry = new Geometry(numbers, box.width, box.height)
    set(this.svg, { viewBox: `0 0 ${box.width} ${box.height}`, width: box.width, height: box.height })
    const { centre, hub } = this.geometry
    set(this.hub.group, { transform: `translate(${centre.x} ${centre.y})` })
    set(this.hub.disc, { r: hub })
    set(this.hub.name, { y: 4 })
    set(this.hub.count, { y: hub + 14 })
    this.#arrangeLinks(numbers)
    this.#arrangeNodes(numbers)
    this.#update()
  }

  #arrangeLinks(numbers) {
    const wanted = new Map(pairs(numbers).map((link) => [String(link), link]))
    for (const [key, drawn] of this.links) if (!wanted.has(key)) { drawn.group.remove(); this.links.delete(key) }
    for (const [key, [a, b]] of wanted) {
      let drawn = this.links.get(key)
      if (!drawn) {
        drawn = { line: s("path", { class: "line" }), half: s("path", { class: "line broken" }), hit: s("path", { class: "hit" }),
          cross: s("path", { class: "cross", d: "M-6 -6 6 6M6 -6-6 6" }), words: s("text", { class: "words" }) }
        drawn.group = s("g", this.#choice({ class: "link", "data-link": key }, { link: [a, b] }), drawn.hit, drawn.line, drawn.half, drawn.cross, drawn.words)
        this.links.set(key, drawn)
        this.linkLayer.append(drawn.group)
      }
      const path = this.geometry.path(a, b), middle = this.geometry.point(a, b, 0.5), beside = this.geometry.point(a, b, 0.3)
      set(drawn.line, { d: path })
      set(drawn.hit, { d: path })
      set(drawn.cross, { transform: `translate(${middle.x} ${middle.y})` })
      set(drawn.words, { x: beside.x, y: beside.y - 6 })
    }
  }

  #arrangeNodes(numbers) {
    for (const [number, drawn] of this.nodes) if (!numbers.includes(number)) { drawn.group.remove(); this.nodes.delete(number) }
    for (const number of numbers) {
      let drawn = this.nodes.get(number)
      if (!drawn) {
        drawn = { ring: s("circle", { class: "ring" }), disc: s("circle", { class: "disc" }), work: s("circle", { class: "work", pathLength: 100 }),
          number: s("text", { class: "number" }, String(number)), role: s("text", { class: "role" }), more: s("text", { class: "more" }) }
        drawn.group = s("g", this.#choice({ class: "node", "data-node": number }, { node: number }), ...Object.values(drawn))
        this.nodes.set(number, drawn)
        this.nodeLayer.append(drawn.group)
      }
      const place = this.geometry.places.get(number), size = this.geometry.node
      set(drawn.group, { transform: `translate(${place.x} ${place.y})` })
      set(drawn.disc, { r: size })
      set(drawn.ring, { r: size + 6 })
      set(drawn.work, { r: size + 6 })
      set(drawn.number, { y: this.geometry.small ? 6 : 9 })
      const top = this.geometry.isTop(number), small = this.geometry.small
      set(drawn.role, { y: top ? -size - (small ? 20 : 28) : size + (small ? 17 : 23) })
      set(drawn.more, { y: top ? -size - (small ? 9 : 12) : size + (small ? 29 : 39) })
    }
  }

  #update() {
    for (const node of this.status.nodes) {
      const drawn = this.nodes.get(node.node)
      const selected = this.selected === `node ${node.node}`
      set(drawn.group, {
        class: classes("node", state(node), node.up && node.role, node.asking && "asking", selected && "selected"),
        "aria-pressed": String(selected),
        "aria-label": `Node ${node.node}: ${role(node)}${node.up ? `, applied ${node.applied ?? 0}` : ""}${node.asking ? ", its LLM works" : ""}`,
      })
      say(drawn.role, `${role(node)}${node.member === false ? ", no member" : ""}`)
      say(drawn.more, node.up && node.ballot ? (this.geometry.small ? ballot(node.ballot) : `${ballot(node.ballot)} · ${node.applied} applied`) : "")
    }
    for (const [key, drawn] of this.links) {
      const [a, b] = key.split(",").map(Number)
      this.#updateLink(drawn, new LinkState(this.status, a, b))
    }
    this.#updateHub()
  }

  #updateHub() {
    const disturbed = this.status && quality(this.status)
    const selected = this.selected === "network"
    set(this.hub.group, {
      class: classes("hub", this.holding && "holding", disturbed && "disturbed", selected && "selected"), "aria-pressed": String(selected),
    })
  }

  #updateLink(drawn, link) {
    const { a, b } = link
    const selected = this.selected === `link ${[a, b]}`
    set(drawn.group, {
      class: classes("link", link.kind, link.away && "away", selected && "selected"),
      "aria-label": `Link between node ${a} and node ${b}: ${link.words}`, "aria-pressed": String(selected),
    })
    const [from, to] = link.cut.there ? [a, b] : [b, a]
    set(drawn.half, { d: link.kind === "half" ? this.geometry.secondHalf(from, to) : "" })
    if (link.kind === "half") {
      const place = this.geometry.point(from, to, 0.62)
      set(drawn.cross, { transform: `translate(${place.x} ${place.y})` })
    } else {
      const place = this.geometry.point(a, b, 0.5)
      set(drawn.cross, { transform: `translate(${place.x} ${place.y})` })
    }
    say(drawn.words, link.single && !this.geometry.small ? link.there || link.back : "")
  }
}
