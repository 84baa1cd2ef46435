/** The node that this view speaks to. When it does not answer, or leaves, the next one is asked, and the user is told. */

import { ApiError } from "../connection.js"

const REMEMBERED = "node"
const PATIENCE_MS = 15000
const WAIT_S = 10
const PAUSE_MS = 700

export class Home {
  /** `onMove(node, words)` is called when another node is spoken to. */
  constructor(connection, onMove) {
    this.nodes = connection.nodes
    this.role = connection.facts.role
    this.onMove = onMove
    this.stop = () => {}
    this.following = null
    this.timer = 0
    this.failures = 0
    const own = connection.facts.node || Number(sessionStorage.getItem(REMEMBERED))
    this.node = this.nodes.includes(own) ? own : this.nodes[0]
    this.connections = new Map(this.nodes.map((number) => [number, connection.at(number)]))
  }

  get mayWrite() { return this.role !== "read" }

  get(path, fields) { return this.#call((connection, signal) => connection.get(path, fields, signal)) }

  /** What is posted may have been carried out although no answer came: `body` is such that a repetition does no harm. */
  post(path, body) { return this.#call((connection, signal) => connection.post(`${path}?wait=${WAIT_S}`, body, signal)) }


  async #call(action) {
    for (let left = this.nodes.length; ; left -= 1) {
      const asked = this.node
      try {
        return await action(this.connections.get(asked), AbortSignal.timeout(PATIENCE_MS))
      } catch (error) {
        const isGone = error.name === "TimeoutError" || error.name === "AbortError" || error.status === 0
        if (!isGone && error.code !== "node_leaving") throw error
        if (left <= 1) throw new ApiError(0, "no node answers")
        if (asked === this.node) this.speakTo(this.#next(), `Node ${asked} does not answer`)
      }
    }
  }

  /** Follows the events at `path`: `onOpen` is called whenever a stream begins, since something may have been missed. */
  follow(path, onEvent, onOpen) {
    this.following = { path, onEvent, onOpen }
    this.#restart(0)
  }

  /** Speaks to another node; `words` say why. */
  speakTo(node, words) {
    if (node === this.node) return
    this.#move(node, words)
    if (this.following) this.#restart(0)
  }

  close() {
    this.following = null
    clearTimeout(this.timer)
    this.stop()
  }

  #restart(afterMs) {
    this.stop()
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.#open(), afterMs)
  }

  #open() {
    const { path, onEvent, onOpen } = this.following
    const asked = this.node
    let ended = false
    const stop = this.connections.get(asked).events(path, (name, data) => { if (!ended) onEvent(name, data) }, (isUp) => {
      if (ended) return
      if (isUp) {
        this.failures = 0
        onOpen()
      } else {
        this.stop()
        this.#lost(asked)
      }
    })
    this.stop = () => {
      ended = true
      stop()
    }
  }

  #lost(node) {
    this.failures += 1
    const words = this.failures < this.nodes.length ? `Node ${node} does not answer` : "No node answers so far"
    if (this.node === node) this.#move(this.#next(), words)
    this.#restart(this.failures < this.nodes.length ? 50 : PAUSE_MS)
  }

  #move(node, words) {
    this.node = node
    sessionStorage.setItem(REMEMBERED, String(node))
    this.onMove(node, words)
  }

  #next() { return this.nodes[(this.nodes.indexOf(this.node) + 1) % this.nodes.length] }
}
