/** Messages as they travel. On the network they take a millisecond; here each takes long enough to be seen, and none starts
 * before what its sender received first has arrived. */

import { s } from "../dom.js"
import { phase } from "./words.js"

const WAY_MS = 900
/** From node to node, when little happens. */
const QUICK_MS = 380
const MOST_BEHIND_MS = 2600
/** So far the picture may be behind, for the sake of order. */
const MOST_DOTS = 120
const NAMED = 7
/** So many messages at a time have their names beside them. */
const LONGEST_DELAY_MS = 10000

export class Traffic {
  constructor(picture) {
    this.picture = picture
    this.dots = new Set()
    this.spare = []
    this.ready = new Map()
    this.still = matchMedia("(prefers-reduced-motion: reduce)")
    this.frame = 0
    this.frames = 0
    /** How many were drawn, for measurements. */
  }

  close() { cancelAnimationFrame(this.frame) }

  /** The messages of one event, in their order. */
  add({ messages }) {
    const now = performance.now()
    const way = this.dots.size > 40 || messages.length > 40 ? QUICK_MS : WAY_MS
    for (const message of messages) this.#begin(message, now, way)
    if (!this.frame) this.frame = requestAnimationFrame((time) => this.#draw(time))
  }

  #begin(message, now, way) {
    const { picture } = this
    const [from, to] = message.link
    if (!picture.geometry?.places.has(from) || !picture.geometry.places.has(to) || this.dots.size >= MOST_DOTS) return
    if (this.still.matches) return this.#flash(from, to, message)
    const released = message.fate === "released" || message.fate === "dropped"
    const start = Math.min(Math.max(now + message.after_ms, released ? 0 : this.ready.get(from) ?? 0), now + MOST_BEHIND_MS)
    const late = message.fate === "late" ? Math.min(message.late_ms, LONGEST_DELAY_MS) : 0
    const dot = { from, to, start, way, late, fate: message.fate, label: message.message, at: released ? 0.5 : 0, mark: null }
    dot.end = start + late + (released || message.fate === "held" || message.fate === "lost" ? way / 2 : way)
    if (message.fate === "passed" || message.fate === "released" || message.fate === "late") {
      this.ready.set(to, Math.max(this.ready.get(to) ?? 0, dot.end))
    }
    this.dots.add(dot)
  }

  #draw(now) {
    this.frames += 1
    const named = this.dots.size <= NAMED
    for (const dot of this.dots) {
      if (now < dot.start) continue
      if (now >= dot.end) this.#finish(dot, now)
      else this.#place(dot, now, named)
    }
    this.frame = this.dots.size ? requestAnimationFrame((time) => this.#draw(time)) : 0
  }

  #place(dot, now, named) {
    const geometry = this.picture.geometry
    if (!geometry.places.has(dot.from) || !geometry.places.has(dot.to)) return this.#remove(dot)
    dot.mark ??= this.#mark(dot)
    let passed = now - dot.start
    const half = dot.way / 2
    if (dot.late) passed = passed < half ? passed : Math.max(half, passed - dot.late)
    const { x, y } = geometry.onWay(dot.from, dot.to, Math.min(1, dot.at + passed / dot.way))
    dot.mark.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`)
    dot.mark.lastChild.textContent = named ? dot.label : ""
  }

  #finish(dot, now) {
    const lost = dot.fate === "lost" || dot.fate === "dropped"
    if (!lost || now > dot.end + 450) return this.#remove(dot)
    dot.mark ??= this.#mark(dot)
    const { x, y } = this.picture.geometry.point(dot.from, dot.to, 0.5)
    const aged = (now - dot.end) / 450
    dot.mark.setAttribute("class", "message lost")
    dot.mark.lastChild.textContent = ""
    dot.mark.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${(1 + 1.5 * aged).toFixed(2)})`)
    dot.mark.setAttribute("opacity", (1 - aged).toFixed(2))
  }

  #mark(dot) {
    const mark = this.spare.pop() ?? s("g", {}, s("circle", { r: this.picture.geometry.small ? 4 : 5.5 }), s("text", { x: 9, y: -7 }))
    mark.setAttribute("class", `message ${phase(dot.label)}`)
    mark.setAttribute("opacity", "1")
    this.picture.layer.append(mark)
    return mark
  }

  #remove(dot) {
    this.dots.delete(dot)
    if (!dot.mark) return
    dot.mark.remove()
    this.spare.push(dot.mark)
  }

  /** For those who want no motion: the link shows the colour of what passes. */
  #flash(from, to, message) {
    const link = this.picture.links.get([Math.min(from, to), Math.max(from, to)].join())
    if (!link) return
    link.line.setAttribute("data-passing", phase(message.message))
    clearTimeout(link.timer)
    link.timer = setTimeout(() => link.line.removeAttribute("data-passing"), 400)
  }
}
